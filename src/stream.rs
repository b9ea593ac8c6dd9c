//! The transport under a stream request.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::connection::Connection;
use crate::wakeup::readable_now;

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

    /// Turns Nagle's algorithm off (true) or on. Where there is none, it does nothing.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()>;

    /// The descriptor whose readiness says that the client has sent something, where there is one.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// A connected socket of any family.
#[derive(Debug)]
pub(crate) struct SocketStream {
    connection: Arc<Connection>,
}

impl SocketStream {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }
}

/// A client that has left is an error of this write, not a signal to the whole process. Where the
/// flag is missing, `socket2` has set the option that does the same on the socket.
#[cfg(not(target_vendor = "apple"))]
const NO_SIGNAL: nix::libc::c_int = nix::libc::MSG_NOSIGNAL;
#[cfg(target_vendor = "apple")]
const NO_SIGNAL: nix::libc::c_int = 0;

impl Read for SocketStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.connection.socket().read(buffer)
    }
}

impl Write for SocketStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.connection.socket().send_with_flags(bytes, NO_SIGNAL)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.connection
            .socket()
            .send_vectored_with_flags(parts, NO_SIGNAL)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SocketStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        readable_now(self.connection.socket().as_fd())
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.connection.socket().shutdown(how)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.connection.socket().set_read_timeout(timeout)?;
        self.connection.socket().set_write_timeout(timeout)
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        match self.connection.socket().set_tcp_nodelay(nodelay) {
            // There is no such algorithm but in TCP.
            Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.connection.socket().as_fd())
    }
}
