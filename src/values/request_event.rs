//! What happens to a request, as a layer sees it that counts or traces.

use std::fmt;
use std::time::Instant;

/// A step in the life of a connection or datagram, as
/// [`BaseServer::observe`](crate::BaseServer::observe) is told of it.
///
/// Each request is accepted, and then either refused, or ended; most of those that end have been
/// started before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent {
    /// It has been got: a connection was accepted, a datagram received.
    Accepted,
    /// It is closed without having been served.
    Refused(Refusal),
    /// Its handler is about to be made.
    Started {
        /// When it was accepted. What has [elapsed](Instant::elapsed) since, it has waited: for a
        /// thread, a worker or a process.
        accepted: Instant,
    },
    /// It is over, and closed.
    Ended {
        /// How it went.
        outcome: Outcome,
        /// When it was accepted. What has [elapsed](Instant::elapsed) since is how long it has lasted.
        accepted: Instant,
        /// The bytes that were received, as the transport carried them.
        received: u64,
        /// The bytes that were sent.
        sent: u64,
    },
}

/// Why a request was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// [`verify_request`](crate::BaseServer::verify_request) said no.
    NotVerified,
    /// [`Limits::max_connections`](crate::Limits::max_connections) was reached.
    TooManyConnections,
    /// [`Limits::max_connections_per_address`](crate::Limits::max_connections_per_address) was
    /// reached.
    TooManyFromAddress,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotVerified => "not verified",
            Self::TooManyConnections => "too many connections",
            Self::TooManyFromAddress => "too many connections from its address",
        })
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The handler succeeded.
    Finished,
    /// The handler failed, its child process was killed or left with another status than 0, a layer
    /// gave it up, or there was no thread or process for it.
    Failed,
    /// The handler failed after its client had missed a [deadline](crate::Deadlines) or a
    /// [timeout](crate::StreamRequest::set_timeout).
    TimedOut,
    /// The handler panicked, or [`verify_request`](crate::BaseServer::verify_request).
    Panicked,
    /// It ran, or waited for a worker, when the server stopped, and was cut off at the
    /// [drain timeout](crate::Server::set_drain_timeout).
    Cut,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Panicked => "panicked",
            Self::Cut => "cut off",
        })
    }
}
