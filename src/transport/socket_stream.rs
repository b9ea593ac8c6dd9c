//! The stream over a connected socket of any family.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::transport::connection::Connection;
use crate::transport::poll::{readable_now, writable_by};
use crate::transport::stream::Stream;
use crate::transport::sys::NO_SIGNAL;

/// The shortest time that a socket is told to wait: it counts microseconds, and takes zero of them
/// for a wait without end.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// A connected socket of any family.
#[derive(Debug)]
pub(crate) struct SocketStream {
    connection: Arc<Connection>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    /// How long the socket itself lets a read wait.
    read_timeout: Option<Duration>,
}

impl SocketStream {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            timeout: None,
            deadline: None,
            read_timeout: None,
        }
    }

    fn socket(&self) -> &Socket {
        self.connection.socket()
    }

    /// Until when the next operation may take, if there is a deadline.
    fn until(&self) -> Option<Instant> {
        let by_timeout = || self.timeout.and_then(|it| Instant::now().checked_add(it));
        let deadline = self.deadline?;
        Some(by_timeout().map_or(deadline, |by_timeout| by_timeout.min(deadline)))
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.read_timeout != timeout {
            self.socket().set_read_timeout(timeout)?;
            self.read_timeout = timeout;
        }
        Ok(())
    }

    /// Reads, and wakes up at the deadline.
    ///
    /// The socket's own timeout does that, since in a conversation it seldom has to be changed: one
    /// that is shorter than the time left does as well, and is followed by a second wait.
    fn read_until(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<usize> {
        let mut had_to_wait_again = false;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.read_what_is_there(buffer);
            }
            let wakes_in_time = self.read_timeout.is_some_and(|timeout| timeout <= left);
            if !wakes_in_time || had_to_wait_again {
                self.set_read_timeout(Some(left.max(SHORTEST_WAIT)))?;
            }
            match self.socket().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => had_to_wait_again = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads with the socket's own timeout, which the system begins anew after a signal.
    fn read_within(&mut self, buffer: &mut [u8], timeout: Duration) -> io::Result<usize> {
        let begun = Instant::now();
        self.set_read_timeout(Some(timeout))?;
        match (self.socket().read(buffer), begun.checked_add(timeout)) {
            (Err(error), Some(until)) if error.kind() == ErrorKind::Interrupted => {
                self.read_until(buffer, until)
            }
            (result, _) => result,
        }
    }

    /// Sends with the socket's own timeout, in the same way.
    fn send_within(
        &self,
        timeout: Duration,
        send: impl Fn(&Socket, nix::libc::c_int) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let begun = Instant::now();
        match (send(self.socket(), NO_SIGNAL), begun.checked_add(timeout)) {
            (Err(error), Some(until)) if error.kind() == ErrorKind::Interrupted => {
                self.send_without_waiting_beyond(until, send)
            }
            (result, _) => result,
        }
    }

    fn read_what_is_there(&self, buffer: &mut [u8]) -> io::Result<usize> {
        if readable_now(self.socket().as_fd())? {
            self.socket().read(buffer)
        } else {
            Err(ErrorKind::TimedOut.into())
        }
    }

    /// Does `send` with the flags that it needs, and waits for room no longer than `until`.
    fn send_until(
        &self,
        until: Option<Instant>,
        send: impl Fn(&Socket, nix::libc::c_int) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = match (until, self.timeout) {
            (Some(until), _) => self.send_without_waiting_beyond(until, send)?,
            (None, Some(timeout)) => self.send_within(timeout, send)?,
            (None, None) => send(self.socket(), NO_SIGNAL)?,
        };
        self.connection.traffic().count_sent(count as u64);
        Ok(count)
    }

    /// Not by the socket's own timeout: over a Unix socket that bounds each part of a long write.
    fn send_without_waiting_beyond(
        &self,
        until: Instant,
        send: impl Fn(&Socket, nix::libc::c_int) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match send(self.socket(), NO_SIGNAL | nix::libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !writable_by(self.socket().as_fd(), until)? {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                result => return result,
            }
        }
    }
}

impl Read for SocketStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match (self.until(), self.timeout) {
            (Some(until), _) => self.read_until(buffer, until)?,
            (None, Some(timeout)) => self.read_within(buffer, timeout)?,
            (None, None) => {
                self.set_read_timeout(None)?;
                self.socket().read(buffer)?
            }
        };
        self.connection.traffic().count_received(count as u64);
        Ok(count)
    }
}

impl Write for SocketStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send_until(self.until(), |socket, flags| {
            socket.send_with_flags(bytes, flags)
        })
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_until(self.until(), |socket, flags| {
            socket.send_vectored_with_flags(parts, flags)
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SocketStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        readable_now(self.socket().as_fd())
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| timeout.max(SHORTEST_WAIT));
        self.set_read_timeout(timeout)?;
        self.socket().set_write_timeout(timeout)?;
        self.timeout = timeout;
        Ok(())
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.deadline = deadline;
        Ok(())
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        match self.socket().set_tcp_nodelay(nodelay) {
            // There is no such algorithm but in TCP.
            Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket().as_fd())
    }
}
