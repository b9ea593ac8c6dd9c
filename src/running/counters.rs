//! The counters behind the statistics and the drain report.

use crate::running::ended::{Closed, Ended};
use crate::support::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use crate::transport::traffic::Traffic;
use crate::values::drain_report::DrainReport;
use crate::values::request_event::Outcome;
use crate::values::statistics::Statistics;

/// The counters of a server's requests since the server was made.
///
/// Every access is `Relaxed`: a counter orders nothing, and the counters are independent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    refused: AtomicU64,
    /// A counter at the index of each outcome.
    ended: [AtomicU64; Outcome::ALL.len()],
    traffic: Traffic,
}

impl Counters {
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_closed(&self, closed: Closed) {
        let counter = match closed {
            Closed::Refused(_) => &self.refused,
            Closed::Ended(outcome) => &self.ended[outcome as usize],
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Adds the bytes of an ended request.
    pub(crate) fn count_traffic(&self, received: u64, sent: u64) {
        self.traffic.count_received(received);
        self.traffic.count_sent(sent);
    }

    /// The numbers of ended requests; those of active requests are zero.
    pub(crate) fn statistics(&self) -> Statistics {
        let ended = |outcome: Outcome| self.ended[outcome as usize].load(Relaxed);
        Statistics {
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
            active: 0,
            idle: 0,
            dropped: 0,
            finished: ended(Outcome::Finished),
            failed: ended(Outcome::Failed),
            timed_out: ended(Outcome::TimedOut),
            panicked: ended(Outcome::Panicked),
            aborted: ended(Outcome::Aborted),
            received: self.traffic.received(),
            sent: self.traffic.sent(),
        }
    }
}

/// The counters of the ends of requests since the drain began. Every access is `Relaxed`, as in
/// [`Counters`].
#[derive(Debug, Default)]
pub(crate) struct DrainCounters {
    idle: AtomicUsize,
    ended: AtomicUsize,
    aborted: AtomicUsize,
    backlog: AtomicUsize,
}

impl DrainCounters {
    pub(crate) fn count(&self, ended: &Ended) {
        let counter = match ended.closed {
            Closed::Refused(_) => return,
            _ if ended.idle => &self.idle,
            Closed::Ended(Outcome::Aborted) => &self.aborted,
            Closed::Ended(_) => &self.ended,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_from_backlog(&self) {
        self.backlog.fetch_add(1, Relaxed);
    }

    /// Sets the counters to zero, when the server goes on serving after a drain.
    pub(crate) fn reset(&self) {
        for counter in [&self.idle, &self.ended, &self.aborted, &self.backlog] {
            counter.store(0, Relaxed);
        }
    }

    pub(crate) fn report(&self, running: usize) -> DrainReport {
        DrainReport {
            idle: self.idle.load(Relaxed),
            ended: self.ended.load(Relaxed),
            aborted: self.aborted.load(Relaxed),
            running,
            lingered: 0,
            backlog: self.backlog.load(Relaxed),
        }
    }
}
