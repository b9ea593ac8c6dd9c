//! What a forked child tells its parent of the request that it has served.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::running::active_requests::End;
use crate::values::request_event::{Outcome, RequestEvent};

/// How a request has ended, and what it has carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildReport {
    pub outcome: Outcome,
    /// It was idle when the drain began.
    pub idle: bool,
    pub received: u64,
    pub sent: u64,
}

/// The bytes of a report behind the process id of its child.
const SIZE: usize = 24;

const OUTCOMES: [Outcome; 5] = [
    Outcome::Finished,
    Outcome::Failed,
    Outcome::TimedOut,
    Outcome::Panicked,
    Outcome::Cut,
];

impl ChildReport {
    /// Of a child that has not said anything: a signal has ended it, or its handler has ended the
    /// process.
    pub(crate) fn of_silent(outcome: Outcome) -> Self {
        Self {
            outcome,
            idle: false,
            received: 0,
            sent: 0,
        }
    }

    pub(crate) fn end(&self) -> End {
        let (outcome, idle) = (self.outcome, self.idle);
        End::Was { outcome, idle }
    }

    pub(crate) fn ended(&self, accepted: Instant) -> RequestEvent {
        RequestEvent::Ended {
            outcome: self.outcome,
            accepted,
            received: self.received,
            sent: self.sent,
        }
    }

    fn to_bytes(self, child: u32) -> [u8; SIZE] {
        let outcome = OUTCOMES.iter().position(|it| *it == self.outcome);
        let mut bytes = [0; SIZE];
        bytes[..4].copy_from_slice(&child.to_ne_bytes());
        bytes[4] = outcome.map_or(u8::MAX, |outcome| outcome as u8);
        bytes[5] = u8::from(self.idle);
        bytes[8..16].copy_from_slice(&self.received.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.sent.to_ne_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; SIZE]) -> Option<(u32, Self)> {
        let [c0, c1, c2, c3, outcome, idle, _, _, counts @ ..] = bytes;
        let (received, sent) = counts.split_first_chunk::<8>()?;
        let report = Self {
            outcome: *OUTCOMES.get(usize::from(*outcome))?,
            idle: *idle != 0,
            received: u64::from_ne_bytes(*received),
            sent: u64::from_ne_bytes(*sent.first_chunk()?),
        };
        Some((u32::from_ne_bytes([*c0, *c1, *c2, *c3]), report))
    }
}

/// The end that children speak to.
#[derive(Debug)]
pub(crate) struct ReportToParent(UnixStream);

impl ReportToParent {
    /// Says how this process's request has ended. Nobody waits for the parent: where it does not
    /// listen, the report is lost.
    pub(crate) fn say(&self, report: &ChildReport) {
        // In one piece, since it is far smaller than what the kernel hands over at once.
        let _ = (&self.0).write(&report.to_bytes(std::process::id()));
    }
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ReportsOfChildren {
    listener: UnixStream,
    /// Of children that have not been collected yet.
    heard: HashMap<u32, ChildReport>,
}

impl ReportsOfChildren {
    pub(crate) fn new() -> io::Result<(ReportToParent, Self)> {
        let (speaker, listener) = UnixStream::pair()?;
        speaker.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        let heard = HashMap::new();
        Ok((ReportToParent(speaker), Self { listener, heard }))
    }

    /// What the child said before it ended.
    pub(crate) fn take(&mut self, child: u32) -> Option<ChildReport> {
        self.listen();
        self.heard.remove(&child)
    }

    fn listen(&mut self) {
        // A read gives whole reports: each is one piece for the kernel, and they fill the buffer.
        let mut bytes = [0; 64 * SIZE];
        while let Ok(count @ 1..) = (&self.listener).read(&mut bytes) {
            let reports = bytes[..count].as_chunks().0;
            self.heard
                .extend(reports.iter().filter_map(ChildReport::from_bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_says_is_what_its_parent_hears() {
        let (speaker, mut reports) = ReportsOfChildren::new().unwrap();
        for outcome in OUTCOMES {
            let report = ChildReport {
                outcome,
                idle: outcome == Outcome::Finished,
                received: u64::MAX - 1,
                sent: 1 << 40,
            };
            speaker.say(&report);
            assert_eq!(reports.take(std::process::id()), Some(report));
        }
    }

    #[test]
    fn a_child_that_said_nothing_has_no_report() {
        let (_speaker, mut reports) = ReportsOfChildren::new().unwrap();
        assert_eq!(reports.take(1), None);
    }

    #[test]
    fn a_child_does_not_wait_for_a_parent_that_does_not_listen() {
        let (speaker, mut reports) = ReportsOfChildren::new().unwrap();
        for sent in 0..1_000_000 {
            speaker.say(&ChildReport {
                sent,
                ..ChildReport::of_silent(Outcome::Failed)
            });
        }
        assert!(reports.take(std::process::id()).is_some());
    }
}
