//! The steps in a request's life, for a layer that counts, measures or traces.

use std::fmt;
use std::time::Instant;

/// A step in the life of a connection or datagram, as [`observe`](crate::BaseServer::observe)
/// receives it.
///
/// Each request is accepted, and in the end either refused or ended. Between the two, most are
/// started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent {
    /// A connection was accepted, or a datagram received.
    Accepted,
    /// The request was closed, and no handler has served it.
    Refused(Refusal),
    /// A thread, a worker or a process begins with the request: it prepares it, then makes the
    /// handler.
    #[non_exhaustive]
    Started {
        /// When the request was accepted. The time that has [elapsed](Instant::elapsed) since then
        /// is what the request has waited for its thread, worker or process.
        accepted: Instant,
    },
    /// The request is over, and its connection closed.
    #[non_exhaustive]
    Ended {
        /// How the request ended.
        outcome: Outcome,
        /// When the request was accepted. The time that has [elapsed](Instant::elapsed) since then
        /// is how long the request has lasted.
        accepted: Instant,
        /// The bytes that were received, as the transport carried them.
        received: u64,
        /// The bytes that were sent, as the transport carried them.
        sent: u64,
    },
}

/// Why a request was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Refusal {
    /// [`verify_request`](crate::BaseServer::verify_request) returned false.
    NotVerified,
    /// [`prepare_request`](crate::BaseServer::prepare_request) refused the request.
    NotPrepared,
    /// [`Limits::max_connections`](crate::Limits::max_connections) was reached.
    TooManyConnections,
    /// [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address) was
    /// reached.
    TooManyFromAddress,
}

impl Refusal {
    /// Every reason, each at the index that `as usize` gives.
    pub(crate) const ALL: [Self; 4] = [
        Self::NotVerified,
        Self::NotPrepared,
        Self::TooManyConnections,
        Self::TooManyFromAddress,
    ];

    /// The reason that `as u8` has made this byte of.
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotVerified => "not verified",
            Self::NotPrepared => "not prepared",
            Self::TooManyConnections => "too many connections",
            Self::TooManyFromAddress => "too many connections from its address",
        })
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Outcome {
    /// The handler succeeded.
    Finished,
    /// The handler failed, its child process was killed or left with another status than 0, a layer
    /// dropped the request, or the system had no thread or process for it.
    Failed,
    /// The handler failed after its client had missed a [deadline](crate::Deadlines) or a
    /// [timeout](crate::StreamRequest::set_timeout).
    TimedOut,
    /// The handler panicked, or [`verify_request`](crate::BaseServer::verify_request).
    Panicked,
    /// The request ran, or waited for a worker, when the server stopped, and was aborted at the
    /// [drain timeout](crate::Server::set_drain_timeout).
    Aborted,
}

impl Outcome {
    /// Every outcome, each at the index that `as usize` gives.
    pub(crate) const ALL: [Self; 5] = [
        Self::Finished,
        Self::Failed,
        Self::TimedOut,
        Self::Panicked,
        Self::Aborted,
    ];

    /// The outcome that `as u8` has made this byte of.
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Panicked => "panicked",
            Self::Aborted => "aborted",
        }
    }
}

/// Both lists have the order of the discriminants: an outcome is the index of its counter, and a
/// byte on the wire of a forked child.
const _: () = {
    let mut index = 0;
    while index < Outcome::ALL.len() {
        assert!(Outcome::ALL[index] as usize == index);
        index += 1;
    }
    let mut index = 0;
    while index < Refusal::ALL.len() {
        assert!(Refusal::ALL[index] as usize == index);
        index += 1;
    }
};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
