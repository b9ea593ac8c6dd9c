//! The reports of forked children: the socket pair between the children and their parent.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket};

use crate::running::ended::{Closed, Ended, EndedHandshake};
use crate::running::parent_link::ParentLink;
use crate::transport::sys::MESSAGES;
use crate::values::request_event::{HandshakeResult, Outcome, Refusal, TlsVersion};

/// The length of a report: process id, end of the request, idle flag, bytes received, bytes sent;
/// or process id, [`HANDSHAKE`], the result, the version, and how long the handshake has lasted.
const SIZE: usize = 24;

/// The byte for a refused request, in the place of an outcome.
const REFUSED: u8 = u8::MAX;

/// The byte for a handshake, in the place of an outcome.
const HANDSHAKE: u8 = u8::MAX - 1;

/// The byte for a handshake without a version.
const NO_VERSION: u8 = u8::MAX;

/// The most handshakes of one child that its parent keeps. A conversation has at most two
/// handshakes, unless its handler forks.
const MOST_HANDSHAKES: usize = 8;

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

    fn report_handshake(&self, handshake: &EndedHandshake) {
        // If the parent does not read, the report is lost.
        let _ = (&self.0).write(&handshake_to_bytes(handshake, std::process::id()));
    }
}

/// The read end, which the parent has.
#[derive(Debug)]
pub(super) struct ReportReceiver {
    read_end: Socket,
    /// Reports of children that have not been collected yet.
    received: HashMap<u32, ChildReport>,
}

/// The reports of a child.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct ChildReport {
    pub handshakes: Vec<EndedHandshake>,
    /// `None` if the child has not reported its end.
    pub ended: Option<Ended>,
}

impl ReportReceiver {
    /// Removes and returns the reports of a child that has ended.
    pub(super) fn take(&mut self, child: u32) -> ChildReport {
        self.receive();
        self.received.remove(&child).unwrap_or_default()
    }

    fn receive(&mut self) {
        let mut bytes = [0; SIZE];
        // Each read returns one report, since the socket keeps messages apart.
        while let Ok(SIZE) = (&self.read_end).read(&mut bytes) {
            let Some((child, report)) = from_bytes(&bytes) else {
                continue;
            };
            let of_child = self.received.entry(child).or_default();
            match report {
                Report::Ended(ended) => of_child.ended = Some(ended),
                Report::Handshake(handshake) if of_child.handshakes.len() < MOST_HANDSHAKES => {
                    of_child.handshakes.push(handshake);
                }
                Report::Handshake(_) => {}
            }
        }
    }
}

/// One message of a child.
enum Report {
    Handshake(EndedHandshake),
    Ended(Ended),
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

fn handshake_to_bytes(handshake: &EndedHandshake, child: u32) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..4].copy_from_slice(&child.to_ne_bytes());
    bytes[4] = HANDSHAKE;
    bytes[5] = handshake.result as u8;
    bytes[6] = handshake.version.map_or(NO_VERSION, |it| it as u8);
    let nanoseconds = u64::try_from(handshake.lasted.as_nanos()).unwrap_or(u64::MAX);
    bytes[8..16].copy_from_slice(&nanoseconds.to_ne_bytes());
    bytes
}

fn from_bytes(bytes: &[u8; SIZE]) -> Option<(u32, Report)> {
    let [c0, c1, c2, c3, outcome, idle, why, _, counts @ ..] = bytes;
    let child = u32::from_ne_bytes([*c0, *c1, *c2, *c3]);
    let (received, sent) = counts.split_first_chunk::<8>()?;
    if *outcome == HANDSHAKE {
        let handshake = EndedHandshake {
            result: HandshakeResult::from_u8(*idle)?,
            version: TlsVersion::from_u8(*why),
            lasted: Duration::from_nanos(u64::from_ne_bytes(*received)),
        };
        return Some((child, Report::Handshake(handshake)));
    }
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
    Some((child, Report::Ended(ended)))
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
            let report = receiver.take(std::process::id());
            assert_eq!(report.ended, Some(ended));
            assert_eq!(report.handshakes, []);
        }
    }

    #[test]
    fn the_parent_receives_the_handshakes_of_a_child_with_its_end() {
        let (sender, mut receiver) = reports().unwrap();
        let mut sent = Vec::new();
        for result in HandshakeResult::ALL {
            for version in [None, Some(TlsVersion::Tls12), Some(TlsVersion::Tls13)] {
                let handshake = EndedHandshake {
                    result,
                    version,
                    lasted: Duration::new(7, 1),
                };
                sender.report_handshake(&handshake);
                sent.push(handshake);
            }
        }
        let ended = Ended::without_report(Outcome::TimedOut);
        sender.report(&ended);
        let report = receiver.take(std::process::id());
        assert_eq!(report.handshakes, sent[..MOST_HANDSHAKES]);
        assert_eq!(report.ended, Some(ended));
    }

    #[test]
    fn a_child_that_reported_nothing_has_no_report() {
        let (_sender, mut receiver) = reports().unwrap();
        assert_eq!(receiver.take(1), ChildReport::default());
    }

    #[test]
    fn a_child_does_not_wait_for_a_parent_that_does_not_read() {
        let (sender, mut receiver) = reports().unwrap();
        for _ in 0..100_000 {
            sender.report(&Ended::without_report(Outcome::Failed));
        }
        assert!(receiver.take(std::process::id()).ended.is_some());
    }
}
