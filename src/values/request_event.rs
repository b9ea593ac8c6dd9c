//! The steps in a request's life, for a layer that counts, measures or traces.

use std::fmt;
use std::time::{Duration, Instant};

/// A step in the life of a connection or datagram, as [`observe`](crate::BaseServer::observe)
/// receives it.
///
/// The first event of a request is `Accepted`, and the last is `Refused` or `Ended`. `Started`
/// comes between the two if the request reaches a thread, a worker or a process. A request that
/// [`prepare_request`](crate::BaseServer::prepare_request) refuses is refused after it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestEvent {
    /// A connection was accepted, or a datagram received.
    Accepted,
    /// The request was closed without a handler, because of a limit or a hook.
    Refused(Refusal),
    /// A layer that encrypts the connection has ended its handshake with the client. If the
    /// handshake was in a forked child, the event comes when the parent has collected the child,
    /// before the event of its end.
    #[non_exhaustive]
    Handshake {
        /// How the handshake ended.
        result: HandshakeResult,
        /// The version of the protocol that the two sides have agreed on; `None` if the handshake
        /// ended before that.
        version: Option<TlsVersion>,
        /// The time from the beginning of the handshake to its end.
        lasted: Duration,
    },
    /// A thread, a worker or a process begins to serve the request. The preparation and the handler
    /// come next.
    #[non_exhaustive]
    Started {
        /// When the request was accepted. The time [elapsed](Instant::elapsed) since then is the
        /// time that the request has waited for its thread, worker or process.
        accepted: Instant,
    },
    /// The request is over, and its connection closed.
    #[non_exhaustive]
    Ended {
        /// How the request ended.
        outcome: Outcome,
        /// When the request was accepted. The time [elapsed](Instant::elapsed) since then is the
        /// time that the request has lasted.
        accepted: Instant,
        /// When the request was started: the time of the event `Started`. `None` if the request was
        /// not started, or if no layer of the server has called
        /// [`note_start_times`](crate::layer::LayerHandle::note_start_times).
        started: Option<Instant>,
        /// The bytes that were received, as the transport carried them.
        received: u64,
        /// The bytes that were sent, as the transport carried them.
        sent: u64,
    },
}

/// The reason why a request was not served.
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
    /// The sender of a datagram is the server's own socket. If the server is bound to a wildcard
    /// address, it may also be another socket with the same port on an address of this machine. The
    /// server would receive its reply as the next request, without end. So it sends nothing, not
    /// even the message of the limits. Such a sender is forged, or a part of the program.
    FromItself,
    /// The server was stopping: [`Backlog::Refuse`](crate::Backlog::Refuse).
    Stopping,
}

impl Refusal {
    /// Every reason, at the index of its discriminant.
    pub(crate) const ALL: [Self; 6] = [
        Self::NotVerified,
        Self::NotPrepared,
        Self::TooManyConnections,
        Self::TooManyFromAddress,
        Self::FromItself,
        Self::Stopping,
    ];

    /// The reason with this discriminant.
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
            Self::FromItself => "its sender is the server itself",
            Self::Stopping => "the server is stopping",
        })
    }
}

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum HandshakeResult {
    /// The two sides have agreed on a new session.
    Full,
    /// The client has resumed an earlier session.
    Resumed,
    /// The two sides did not agree, or the client does not speak the protocol.
    Failed,
    /// The client has left, was silent for too long, or the server has stopped.
    Abandoned,
}

impl HandshakeResult {
    /// Every result, at the index of its discriminant.
    pub(crate) const ALL: [Self; 4] = [Self::Full, Self::Resumed, Self::Failed, Self::Abandoned];

    /// The result with this discriminant.
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// A version of TLS. Python's `ssl.TLSVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
#[doc(alias = "TLSVersion")]
pub enum TlsVersion {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// Every version, at the index of its discriminant.
    pub(crate) const ALL: [Self; 2] = [Self::Tls12, Self::Tls13];

    /// The version with this discriminant.
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The name, as OpenSSL and Python write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Outcome {
    /// The handler succeeded.
    Finished,
    /// The handler or the preparation failed, or the child process was killed or exited with a
    /// status other than 0. Or a layer dropped the request, or the system had no thread or process
    /// for it. A client that resets its connection makes its handler fail.
    Failed,
    /// The handler or the preparation failed after the client had missed a
    /// [deadline](crate::Deadlines) or a [timeout](crate::StreamRequest::set_timeout).
    TimedOut,
    /// The handler, [`verify_request`](crate::BaseServer::verify_request) or
    /// [`prepare_request`](crate::BaseServer::prepare_request) panicked.
    Panicked,
    /// The request still ran, or waited for a worker, at the
    /// [drain timeout](crate::Server::set_drain_timeout). A request that waits for bytes of its
    /// preamble when the server stops is aborted at once.
    Aborted,
}

impl Outcome {
    /// Every outcome, at the index of its discriminant.
    pub(crate) const ALL: [Self; 5] = [
        Self::Finished,
        Self::Failed,
        Self::TimedOut,
        Self::Panicked,
        Self::Aborted,
    ];

    /// The outcome with this discriminant.
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// Checks that the lists have the order of the discriminants: a discriminant is the index of a
/// counter, and a byte in the report of a forked child.
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
    let mut index = 0;
    while index < HandshakeResult::ALL.len() {
        assert!(HandshakeResult::ALL[index] as usize == index);
        index += 1;
    }
    let mut index = 0;
    while index < TlsVersion::ALL.len() {
        assert!(TlsVersion::ALL[index] as usize == index);
        index += 1;
    }
};
