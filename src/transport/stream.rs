//! The contract of the transport under a stream request.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use socket2::SockRef;

use crate::support::deadline::Deadline;
use crate::transport::poll::readable_by;
use crate::transport::socket_address::from_sockaddr;
use crate::transport::waits::blocking;
use crate::values::address::Address;

/// The bytes of a connection, both ways, unbuffered, which a
/// [`StreamRequest`](crate::StreamRequest) reads and writes.
///
/// The framework implements this trait for TCP and Unix sockets, and for the [`mock`](crate::mock)
/// without a network. A layer that changes the bytes on their way (encryption, compression)
/// implements the trait over a boxed `Stream`, and installs its stream with
/// [`map_stream`](crate::StreamRequest::map_stream). Python's counterpart is the socket object,
/// which a layer wraps.
///
/// # The order of calls
///
/// One thread at a time calls the methods, in this order for each exchange:
///
/// 1. [`set_deadline`](Self::set_deadline), if the connection has [`Deadlines`](crate::Deadlines),
///    before each of the next steps.
/// 2. `read`, until a message is complete. Between two messages,
///    [`readable_now`](Self::readable_now) checks whether a `read` would wait, and
///    [`wait_readable`](Self::wait_readable) waits and reads nothing.
/// 3. `write` or `write_vectored`, until the answer is sent, then `flush`.
///
/// [`set_timeout`](Self::set_timeout), [`set_nodelay`](Self::set_nodelay) and
/// [`shutdown`](Self::shutdown) may be called at any time. A request that is closed in good order
/// ends with `shutdown` of the writing side, then the drop.
///
/// A stopping server shuts down the descriptor under the stream, from another thread. Then a `read`
/// that waits returns the end of file. After an abort a `write` fails.
///
/// `read` and `write` follow the contracts of [`Read`] and [`Write`]. They fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock) at the timeout, and with
/// [`TimedOut`](io::ErrorKind::TimedOut) at the deadline. The request adds the reason and the time
/// to the error that its handler receives.
pub trait Stream: Read + Write + Send + fmt::Debug {
    /// Returns whether `read` would return at once: with bytes, the end of file, or an error. If a
    /// layer has buffered bytes of its own, it returns true for those too.
    ///
    /// # Errors
    ///
    /// If the operating system reports an error.
    fn readable_now(&mut self) -> io::Result<bool>;

    /// Waits until `read` would return at once. Returns true in that case, and false at `deadline`;
    /// `None` means no deadline. A stream without a [descriptor](Self::readiness) does not wait,
    /// and returns true.
    ///
    /// # Errors
    ///
    /// If the operating system reports an error.
    fn wait_readable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        if self.readable_now()? {
            return Ok(true);
        }
        let deadline = deadline.map_or(Deadline::NEVER, Deadline::at);
        self.readiness().map_or(Ok(true), |descriptor| {
            blocking(|| readable_by(descriptor, deadline))
        })
    }

    /// Reads the bytes that have arrived, without waiting. A stream that can do so in one system
    /// call overrides this method.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing has arrived, and those of `read`.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.readable_now()? {
            self.read(buffer)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Returns whether unread bytes may have arrived before the end of the last read. True unless
    /// overridden. After false, the [descriptor](Self::readiness) becomes readable again when more
    /// bytes arrive, so a [reactor](crate::ReactorMixIn) need not try another read first.
    fn may_have_more(&self) -> bool {
        true
    }

    /// Sends at most `count` bytes of a file, from `offset`, without a copy in this process. The
    /// timeout and the deadline hold as for `write`. Returns the number of sent bytes, which is 0
    /// at the end of the file. Returns `None`, the default, if the bytes have to be written.
    ///
    /// A layer that changes the bytes keeps the default.
    ///
    /// # Errors
    ///
    /// Returns the errors of `write`, and the errors of a read of the file.
    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        let _ = (file, offset, count);
        Ok(None)
    }

    /// Ends one direction, or both. [`shutdown_request`](crate::BaseServer::shutdown_request) calls
    /// this method for the writing side; a handler may have called it before.
    ///
    /// # Errors
    ///
    /// If the connection has ended already.
    fn shutdown(&mut self, how: Shutdown) -> io::Result<()>;

    /// Bounds every single read and write from now on. A call fails when no byte was received or
    /// taken for this time. `None` means no bound. `timeout` is never zero. A layer passes the
    /// timeout on to its inner stream, where it bounds each system call. So
    /// [`Deadlines::progress`](crate::Deadlines::progress) holds for each part of a long write.
    ///
    /// # Errors
    ///
    /// If the transport has no timeouts.
    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Sets the end of all waiting: a read or write that still waits at `deadline` fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut). A read or write that need not wait succeeds even
    /// after the deadline. `None` means no deadline. A layer passes the deadline on to its inner
    /// stream.
    ///
    /// # Errors
    ///
    /// If the transport has no deadlines.
    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()>;

    /// Turns Nagle's algorithm off (true) or on (false). Does nothing on a transport without the
    /// algorithm.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()>;

    /// Returns the descriptor to wait on. Callers use it for nothing else. While it is readable,
    /// the client may have sent something. `None` without a network. A layer returns the descriptor
    /// of its inner stream.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// Returns the connection's socket, if the bytes of this stream are the bytes of the socket.
    /// The caller may set options on the socket, or send through it. `None`, the default, is for a
    /// layer that changes the bytes.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Returns the address that the client has connected to. Unless overridden, this is the address
    /// of the [descriptor](Self::readiness), even under layers that change the bytes.
    fn local_address(&self) -> Option<Address> {
        let connection = self.readiness()?;
        let address = SockRef::from(&connection).local_addr().ok()?;
        Some(from_sockaddr(&address))
    }
}

/// Returns whether a timeout or a deadline has ended the operation. The `ETIMEDOUT` of the
/// connection itself has the same kind, and is excluded.
pub(crate) fn has_expired(error: &io::Error) -> bool {
    let by_bound = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
    by_bound && error.raw_os_error() != Some(Errno::ETIMEDOUT as i32)
}
