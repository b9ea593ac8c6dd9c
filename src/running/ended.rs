//! The end of a request, and its bytes; the end of a handshake.

use std::time::{Duration, Instant};

use crate::values::request_event::{HandshakeResult, Outcome, Refusal, RequestEvent, TlsVersion};

/// The way in which a request was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The request was refused.
    Refused(Refusal),
    /// The request was not refused, and has ended.
    Ended(Outcome),
}

/// The end of a request. A forked child reports this value to its parent; the counters and the
/// events are made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub closed: Closed,
    /// The connection was idle when the drain began.
    pub idle: bool,
    pub received: u64,
    pub sent: u64,
}

impl Ended {
    /// The end of a forked child that has sent no report: a signal has ended the child, or its
    /// handler has ended the process.
    pub(crate) fn without_report(outcome: Outcome) -> Self {
        Self {
            closed: Closed::Ended(outcome),
            idle: false,
            received: 0,
            sent: 0,
        }
    }

    /// Makes the event for the layers.
    pub(crate) fn event(&self, accepted: Instant, started: Option<Instant>) -> RequestEvent {
        match self.closed {
            Closed::Refused(why) => RequestEvent::Refused(why),
            Closed::Ended(outcome) => RequestEvent::Ended {
                outcome,
                accepted,
                started,
                received: self.received,
                sent: self.sent,
            },
        }
    }
}

/// The end of a handshake, which a forked child reports to its parent too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndedHandshake {
    pub result: HandshakeResult,
    pub version: Option<TlsVersion>,
    pub lasted: Duration,
}

impl EndedHandshake {
    /// Makes the event for the layers.
    pub(crate) fn event(&self) -> RequestEvent {
        RequestEvent::Handshake {
            result: self.result,
            version: self.version,
            lasted: self.lasted,
        }
    }
}
