//! What a server has done and is doing, in numbers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::transport::traffic::Traffic;
use crate::values::request_event::Outcome;

/// The numbers of a server since it was made, as
/// [`ServerHandle::statistics`](crate::ServerHandle::statistics) gives them.
///
/// A request is a connection or a datagram. Each one that was `accepted` is in exactly one of
/// `refused`, `active`, `finished`, `failed`, `timed_out`, `panicked` and `cut`, once what is under
/// way between two of them has settled. The exception are forked children that a closed server has
/// left to themselves ([`block_on_close`](crate::ForkingMixIn::block_on_close)): how they end is not
/// known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Connections that were accepted, and datagrams that were received.
    pub accepted: u64,
    /// Those that were closed without being served.
    pub refused: u64,
    /// Those that are there now, in forked children too.
    pub active: u64,
    /// Those of the active ones whose handler waits for the next message, in
    /// [`wait`](crate::StreamRequest::wait). A forked child's is not seen here.
    pub idle: u64,
    /// Those whose handler succeeded.
    pub finished: u64,
    /// Those that [failed](Outcome::Failed).
    pub failed: u64,
    /// Those that failed because of [the client's silence](Outcome::TimedOut).
    pub timed_out: u64,
    /// Those that [panicked](Outcome::Panicked).
    pub panicked: u64,
    /// Those that were cut off because the server stopped.
    pub cut: u64,
    /// Bytes received, by the active ones too. A datagram's, and those of a forked child, count at
    /// its end.
    pub received: u64,
    /// Bytes sent, in the same way.
    pub sent: u64,
}

/// The same as it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    panicked: AtomicU64,
    cut: AtomicU64,
    traffic: Traffic,
}

impl Counters {
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_ended(&self, outcome: Outcome) {
        let counter = match outcome {
            Outcome::Finished => &self.finished,
            Outcome::Failed => &self.failed,
            Outcome::TimedOut => &self.timed_out,
            Outcome::Panicked => &self.panicked,
            Outcome::Cut => &self.cut,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The bytes of a request that is over.
    pub(crate) fn count_traffic(&self, received: u64, sent: u64) {
        self.traffic.count_received(received);
        self.traffic.count_sent(sent);
    }

    /// What has been counted; nothing of what is active.
    pub(crate) fn statistics(&self) -> Statistics {
        Statistics {
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            active: 0,
            idle: 0,
            finished: self.finished.load(Relaxed),
            failed: self.failed.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            cut: self.cut.load(Relaxed),
            received: self.traffic.received(),
            sent: self.traffic.sent(),
        }
    }
}
