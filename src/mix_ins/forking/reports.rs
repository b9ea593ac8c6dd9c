//! The reports of forked children: the socket pair between the children and their parent.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use socket2::{Domain, Socket};

use crate::running::ended::{Closed, Ended};
use crate::running::parent_link::ParentLink;
use crate::transport::sys::MESSAGES;
use crate::values::request_event::{Outcome, Refusal};

/// The length of a report: process id, end of the request, idle flag, bytes received, bytes sent.
const SIZE: usize = 24;

/// The byte for a refused request, in the place of an outcome.
const REFUSED: u8 = u8::MAX;

/// Makes the pair: the children's write end, and the parent's read end.
pub(super) fn reports() -> io::Result<(Arc<ReportSender>, ReportReceiver)> {
    let (write_end, read_end) = Socket::pair(Domain::UNIX, MESSAGES, None)?;
    write_end.set_nonblocking(true)?;
    read_end.set_nonblocking(true)?;
    let received = HashMap::new();
    Ok((
        Arc::new(ReportSender(write_end)),
        ReportReceiver { read_end, received },
    ))
}

/// The write end, which all children of a server share.
#[derive(Debug)]
pub(super) struct ReportSender(Socket);

impl ParentLink for ReportSender {
    fn report(&self, ended: &Ended) {
        // If the parent does not read, the report is lost, and the exit status decides the outcome.
        let _ = (&self.0).write(&to_bytes(ended, std::process::id()));
    }
}

/// The read end, which the parent has.
#[derive(Debug)]
pub(super) struct ReportReceiver {
    read_end: Socket,
    /// Reports of children that have not been collected yet.
    received: HashMap<u32, Ended>,
}

impl ReportReceiver {
    /// Removes and returns the report of a child that has ended.
    pub(super) fn take(&mut self, child: u32) -> Option<Ended> {
        self.receive();
        self.received.remove(&child)
    }

    fn receive(&mut self) {
        let mut bytes = [0; SIZE];
        // Each read returns one report, since the socket keeps messages apart.
        while let Ok(SIZE) = (&self.read_end).read(&mut bytes) {
            self.received.extend(from_bytes(&bytes));
        }
    }
}

fn to_bytes(ended: &Ended, child: u32) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..4].copy_from_slice(&child.to_ne_bytes());
    (bytes[4], bytes[6]) = match ended.closed {
        Closed::Ended(outcome) => (outcome as u8, 0),
        Closed::Refused(why) => (REFUSED, why as u8),
    };
    bytes[5] = u8::from(ended.idle);
    bytes[8..16].copy_from_slice(&ended.received.to_ne_bytes());
    bytes[16..].copy_from_slice(&ended.sent.to_ne_bytes());
    bytes
}

fn from_bytes(bytes: &[u8; SIZE]) -> Option<(u32, Ended)> {
    let [c0, c1, c2, c3, outcome, idle, why, _, counts @ ..] = bytes;
    let (received, sent) = counts.split_first_chunk::<8>()?;
    let closed = match *outcome {
        REFUSED => Closed::Refused(Refusal::from_u8(*why)?),
        outcome => Closed::Ended(Outcome::from_u8(outcome)?),
    };
    let ended = Ended {
        closed,
        idle: *idle != 0,
        received: u64::from_ne_bytes(*received),
        sent: u64::from_ne_bytes(*sent.first_chunk()?),
    };
    Some((u32::from_ne_bytes([*c0, *c1, *c2, *c3]), ended))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_parent_receives_what_a_child_has_reported() {
        let (sender, mut receiver) = reports().unwrap();
        let outcomes = Outcome::ALL.map(Closed::Ended);
        let refusals = Refusal::ALL.map(Closed::Refused);
        for closed in outcomes.into_iter().chain(refusals) {
            let ended = Ended {
                closed,
                idle: closed == Closed::Ended(Outcome::Finished),
                received: u64::MAX - 1,
                sent: 1 << 40,
            };
            sender.report(&ended);
            assert_eq!(receiver.take(std::process::id()), Some(ended));
        }
    }

    #[test]
    fn a_child_that_reported_nothing_has_no_report() {
        let (_sender, mut receiver) = reports().unwrap();
        assert_eq!(receiver.take(1), None);
    }

    #[test]
    fn a_child_does_not_wait_for_a_parent_that_does_not_read() {
        let (sender, mut receiver) = reports().unwrap();
        for _ in 0..100_000 {
            sender.report(&Ended::without_report(Outcome::Failed));
        }
        assert!(receiver.take(std::process::id()).is_some());
    }
}
