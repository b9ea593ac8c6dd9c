//! The bounds of the lingering close.

use std::time::Duration;

/// The default time, which is gunicorn's; nginx waits 5 seconds for each part.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The default number of bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The default number of connections.
const MAX_CONNECTIONS: usize = 50;

/// The bounds of the lingering close: for how long, and for how many bytes, a server reads and
/// drops what a client still sends after the end of the answer.
///
/// close(2) with unread bytes, and bytes that come after close(2), make the kernel reset the
/// connection. A reset destroys the part of the answer that the client has not received. So a
/// stream server first ends its writing side. If the client may still send, and bytes of the answer
/// may be lost, the server then keeps the connection until the client has ended its side too. These
/// bounds limit that time. nginx calls this `lingering_close`. Python's servers close at once.
///
/// The request has ended by then: its handler and thread are free, and the limits and the
/// statistics do not count it any more. One thread of the server reads from all lingering
/// connections; it starts with the first of them. A forked child waits for its own lingering
/// connection itself.
///
/// ```
/// use std::time::Duration;
/// use socketserver::{Lingering, ThreadingTcpServer};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || Nothing)?;
/// let lingering = Lingering::default()
///     .with_timeout(Duration::from_secs(5))
///     .with_max_bytes(64 * 1024);
/// server.handle().set_lingering(lingering);
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[doc(alias = "lingering_close")]
pub struct Lingering {
    timeout: Duration,
    max_bytes: u64,
    max_connections: usize,
}

impl Lingering {
    /// Makes a value that disables lingering: every connection is closed at once, as in Python.
    pub fn none() -> Self {
        Self {
            timeout: Duration::ZERO,
            max_bytes: 0,
            max_connections: 0,
        }
    }

    /// The longest time from the end of the answer to the close; 2 seconds by default.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sets [`timeout`](Self::timeout). Zero disables lingering.
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The most bytes that are read and dropped from one connection; 1 MiB by default.
    ///
    /// At this number the connection is closed, unless a part of the answer is still unsent. Then
    /// the server reads no more, and closes the connection at the timeout.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Sets [`max_bytes`](Self::max_bytes). Zero disables lingering.
    pub fn with_max_bytes(self, max_bytes: u64) -> Self {
        Self { max_bytes, ..self }
    }

    /// The most connections of the server that linger at a time; 50 by default, so that they and
    /// the [default limit](crate::Limits) of connections fit into 1024 descriptors. If a further
    /// connection has to linger, the connection that has lingered longest is closed.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// Sets [`max_connections`](Self::max_connections). Zero disables lingering.
    pub fn with_max_connections(self, max_connections: usize) -> Self {
        Self {
            max_connections,
            ..self
        }
    }

    /// Whether no connection lingers.
    pub(crate) fn is_disabled(&self) -> bool {
        self.timeout.is_zero() || self.max_bytes == 0 || self.max_connections == 0
    }
}

/// Two seconds, 1 MiB, 50 connections.
impl Default for Lingering {
    fn default() -> Self {
        Self {
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
            max_connections: MAX_CONNECTIONS,
        }
    }
}
