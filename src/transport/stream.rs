//! The transport under a stream request.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// A connection's bytes, both ways, unbuffered: what a [`StreamRequest`](crate::StreamRequest)
/// reads and writes.
///
/// TCP and Unix sockets implement it here, and [`mock`](crate::mock) does without a network. A
/// layer that changes the bytes on their way (encryption, compression) implements it over a boxed
/// `Stream`, and puts it in place with [`map_stream`](crate::StreamRequest::map_stream).
///
/// `read` and `write` follow the contracts of [`Read`] and [`Write`]; when the timeout is over they
/// fail with [`WouldBlock`](io::ErrorKind::WouldBlock) or [`TimedOut`](io::ErrorKind::TimedOut),
/// and the request makes one error of both.
pub trait Stream: Read + Write + Send + fmt::Debug {
    /// Whether `read` would return at once: with bytes, the end of file, or an error.
    ///
    /// # Errors
    ///
    /// If the operating system cannot tell.
    fn readable_now(&mut self) -> io::Result<bool>;

    /// Ends one direction, or both. Called once by
    /// [`shutdown_request`](crate::BaseServer::shutdown_request).
    ///
    /// # Errors
    ///
    /// If the connection has ended already.
    fn shutdown(&mut self, how: Shutdown) -> io::Result<()>;

    /// Bounds every single read and write from now on; `None` means no bound.
    ///
    /// # Errors
    ///
    /// If the transport has no timeouts. `timeout` is never zero.
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends every read and write that is under way at `deadline`, whatever it has done until then:
    /// it fails with [`TimedOut`](io::ErrorKind::TimedOut). What can be done without waiting is done
    /// also after the deadline. `None` means no deadline. Set before every operation of a connection
    /// that has [`Deadlines`](crate::Deadlines); a layer passes it on to the stream below.
    ///
    /// # Errors
    ///
    /// If the transport has no deadlines.
    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()>;

    /// Turns Nagle's algorithm off (true) or on. Where there is none, it does nothing.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()>;

    /// The descriptor whose readiness says that the client has sent something, where there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}
