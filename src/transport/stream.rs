//! The transport under a stream request.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::support::deadline::Deadline;
use crate::transport::poll::readable_by;

/// A connection's bytes, both ways, unbuffered: what a [`StreamRequest`](crate::StreamRequest)
/// reads and writes.
///
/// TCP and Unix sockets implement it here, and [`mock`](crate::mock) does without a network. A
/// layer that changes the bytes on their way (encryption, compression) implements it over a boxed
/// `Stream`, and [`map_stream`](crate::StreamRequest::map_stream) puts it in place.
///
/// # The order of calls
///
/// One thread at a time calls the methods, in this order for each exchange:
///
/// 1. [`set_deadline`](Self::set_deadline), if the connection has [`Deadlines`](crate::Deadlines),
///    before each of the next steps.
/// 2. `read`, until a message is there. Between two messages,
///    [`readable_now`](Self::readable_now) may ask whether a `read` would wait, and
///    [`wait_readable`](Self::wait_readable) waits and reads nothing.
/// 3. `write` or `write_vectored`, until the answer is sent, then `flush`.
///
/// [`set_timeout`](Self::set_timeout) and [`set_nodelay`](Self::set_nodelay) may come at any time.
/// [`shutdown`](Self::shutdown) of the writing side is the last call but the drop.
///
/// A server that stops shuts down the descriptor under the stream from another thread: a `read`
/// that waits returns the end of file then, and after an abort a `write` fails.
///
/// `read` and `write` follow the contracts of [`Read`] and [`Write`]. When the timeout is over they
/// fail with [`WouldBlock`](io::ErrorKind::WouldBlock), at the deadline with
/// [`TimedOut`](io::ErrorKind::TimedOut). The request makes the right error of that.
pub trait Stream: Read + Write + Send + fmt::Debug {
    /// Whether `read` would return at once: with bytes, the end of file, or an error. A layer that
    /// holds bytes back returns true for those too.
    ///
    /// # Errors
    ///
    /// If the operating system cannot find out.
    fn readable_now(&mut self) -> io::Result<bool>;

    /// Waits until `read` would return at once, and returns true; at `deadline` it returns false.
    /// `None` means no deadline. A stream without a [descriptor](Self::readiness) does not wait.
    ///
    /// # Errors
    ///
    /// If the operating system cannot wait.
    fn wait_readable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.readable_now()? {
            return Ok(true);
        }
        let deadline = deadline.map_or(Deadline::NEVER, Deadline::at);
        self.readiness()
            .map_or(Ok(true), |descriptor| readable_by(descriptor, deadline))
    }

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
    /// it fails with [`TimedOut`](io::ErrorKind::TimedOut). What can be done without waiting is
    /// done also after the deadline. `None` means no deadline. A layer passes it on to its inner
    /// stream.
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

    /// The descriptor to wait on: when it is readable, the client may have sent something. `None`
    /// without a network. A layer returns that of its inner stream. Nobody reads or writes through
    /// it.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// The connection's socket, if the bytes of this stream are the bytes of the socket: to set
    /// options on it, or to send through it. `None`, which is the default, for a layer that changes
    /// the bytes.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
