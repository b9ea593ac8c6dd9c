//! The stream over a connected socket of any family.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc::{EINVAL, ENOSYS, EOVERFLOW, ESPIPE, MSG_DONTWAIT, c_int};
use nix::sys::socket::{MsgFlags, recv};
use socket2::Socket;

use crate::support::deadline::Deadline;
use crate::transport::connection::Connection;
use crate::transport::poll::{readable_now, writable_by};
use crate::transport::stream::Stream;
use crate::transport::sys::{NO_SIGNAL, send_file, untaken};
use crate::transport::waits::{are_observed, blocking};

/// The shortest `SO_RCVTIMEO` that is set: the option counts microseconds, and zero means no
/// timeout. So a read may end this much after its deadline.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The [`Stream`] over a connected socket of any family, which is in blocking mode.
///
/// The requests of the framework's bottom layers have such a stream already. A layer with a
/// connection of its own makes such a stream of a [`TcpStream`] or a [`UnixStream`]. An example is
/// a TLS client to which a request is [relayed](crate::StreamRequest::relay). Python's counterpart
/// is the socket object.
#[derive(Debug)]
pub struct SocketStream {
    connection: Arc<Connection>,
    /// Set once an operation is bounded.
    bounds: Option<Box<Bounds>>,
}

#[derive(Debug, Default)]
struct Bounds {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    /// The present `SO_RCVTIMEO` of the socket.
    read_timeout: Option<Duration>,
}

impl SocketStream {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            bounds: None,
        }
    }

    fn socket(&self) -> &Socket {
        self.connection.socket()
    }

    /// Returns the bound of an operation that begins now: the timeout or the deadline, whichever is
    /// sooner.
    fn bound(&self) -> Option<Bound> {
        let set = self.bounds.as_ref()?;
        let by_timeout = set
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let bounds = [
            (by_timeout, ErrorKind::WouldBlock),
            (set.deadline, ErrorKind::TimedOut),
        ];
        let bounds = bounds.into_iter().filter_map(|(until, expired)| {
            let until = until?;
            Some(Bound { until, expired })
        });
        bounds.min_by_key(|bound| bound.until)
    }

    fn timeout(&self) -> Option<Duration> {
        self.bounds.as_ref()?.timeout
    }

    fn deadline(&self) -> Option<Instant> {
        self.bounds.as_ref()?.deadline
    }

    fn read_timeout(&self) -> Option<Duration> {
        self.bounds.as_ref()?.read_timeout
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.read_timeout() != timeout {
            self.socket().set_read_timeout(timeout)?;
            self.bounds.get_or_insert_default().read_timeout = timeout;
        }
        Ok(())
    }

    /// Reads, and fails at the bound.
    ///
    /// Uses `SO_RCVTIMEO`, which saves a poll(2). The option is set again only if its present value
    /// would sleep past the bound. If the present value is shorter, a second read follows.
    fn read_until(&mut self, buffer: &mut [u8], bound: Bound) -> io::Result<usize> {
        let mut had_to_wait_again = false;
        loop {
            let left = bound.until.saturating_duration_since(Instant::now());
            if left.is_zero() && !readable_now(self.socket().as_fd())? {
                return Err(bound.expired.into());
            }
            let ends_in_time = |timeout: Duration| timeout <= left + SHORTEST_WAIT;
            if had_to_wait_again || !self.read_timeout().is_some_and(ends_in_time) {
                self.set_read_timeout(Some(left.max(SHORTEST_WAIT)))?;
            }
            match self.socket().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => had_to_wait_again = true,
                // The loop tries again here, since the remaining time has to be computed again.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads without a bound. The option that an earlier bound has left is removed only after it
    /// has ended the read.
    fn read_unbounded(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.socket().read(buffer) {
            Err(error)
                if error.kind() == ErrorKind::WouldBlock && self.read_timeout().is_some() =>
            {
                self.set_read_timeout(None)?;
                self.socket().read(buffer)
            }
            result => result,
        }
    }

    /// Calls `send` with the flags of send(2), and waits for room until the bound.
    ///
    /// With a bound, the wait is in poll(2) and not in send(2) with `SO_SNDTIMEO`. Over a Unix
    /// socket, that option bounds only each part of a long write.
    fn send(&self, send: impl Fn(&Socket, c_int) -> io::Result<usize>) -> io::Result<usize> {
        if self.timeout().is_none() && self.deadline().is_none() {
            return self.send_without_bound(send);
        }
        loop {
            match send(self.socket(), NO_SIGNAL | MSG_DONTWAIT) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    blocking(|| self.wait_for_room())?;
                }
                sent => return self.count_sent(sent),
            }
        }
    }

    /// Waits until the socket takes bytes, and fails at the bound. The timeout begins again while
    /// the client takes bytes that were sent before. A socket with a large buffer reports room only
    /// when a good part of the buffer is free, for which a slow client needs minutes.
    fn wait_for_room(&self) -> io::Result<()> {
        let socket = self.socket().as_fd();
        let mut before = self.timeout().and_then(|_| untaken(socket));
        while let Some(bound) = self.bound() {
            if writable_by(socket, Deadline::at(bound.until))? {
                break;
            }
            let now = before.and_then(|_| untaken(socket));
            if bound.expired == ErrorKind::TimedOut || now.is_none() || now >= before {
                return Err(bound.expired.into());
            }
            before = now;
        }
        Ok(())
    }

    fn send_without_bound(
        &self,
        send: impl Fn(&Socket, c_int) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if are_observed() {
            match send(self.socket(), NO_SIGNAL | MSG_DONTWAIT) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                sent => return self.count_sent(sent),
            }
        }
        self.count_sent(blocking(|| send(self.socket(), NO_SIGNAL)))
    }

    /// Reads, and waits at most until the bound.
    fn read_by(&mut self, buffer: &mut [u8], bound: Option<Bound>) -> io::Result<usize> {
        match bound {
            Some(bound) => self.read_until(buffer, bound),
            None => self.read_unbounded(buffer),
        }
    }

    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = recv(self.socket().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT);
        Ok(received?)
    }

    fn count_received(&self, read: io::Result<usize>, room: usize) -> io::Result<usize> {
        self.connection.reading().note_read(&read, room);
        read.inspect(|&count| self.connection.traffic().count_received(count as u64))
    }

    fn count_sent(&self, sent: io::Result<usize>) -> io::Result<usize> {
        match &sent {
            Ok(count) => self.connection.traffic().count_sent(*count as u64),
            Err(error) => self.connection.reading().note_error(error),
        }
        sent
    }
}

impl From<TcpStream> for SocketStream {
    fn from(stream: TcpStream) -> Self {
        Self::new(Connection::new(Some(stream.into())))
    }
}

impl From<UnixStream> for SocketStream {
    fn from(stream: UnixStream) -> Self {
        Self::new(Connection::new(Some(stream.into())))
    }
}

impl Read for SocketStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bound = self.bound();
        let read = if are_observed() {
            match self.receive_now(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    blocking(|| self.read_by(buffer, bound))
                }
                received => received,
            }
        } else {
            self.read_by(buffer, bound)
        };
        self.count_received(read, buffer.len())
    }
}

impl Write for SocketStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(|socket, flags| socket.send_with_flags(bytes, flags))
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send(|socket, flags| socket.send_vectored_with_flags(parts, flags))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for SocketStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        readable_now(self.socket().as_fd())
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.receive_now(buffer);
        self.count_received(read, buffer.len())
    }

    fn may_have_more(&self) -> bool {
        !self.connection.reading().was_empty()
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        let sent = self.send(|socket, flags| send_file(socket, flags, file, offset, count));
        match sent.as_ref().map_err(io::Error::raw_os_error) {
            // The file is not a regular file, or its file system does not support the call.
            Err(Some(EINVAL | ENOSYS | ESPIPE | EOVERFLOW)) => Ok(None),
            _ => sent.map(Some),
        }
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.socket().shutdown(how)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // The next read sets the option of the socket, if its present value is too long.
        if timeout.is_some() || self.bounds.is_some() {
            let timeout = timeout.map(|timeout| timeout.max(SHORTEST_WAIT));
            self.bounds.get_or_insert_default().timeout = timeout;
        }
        Ok(())
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        if deadline.is_some() || self.bounds.is_some() {
            self.bounds.get_or_insert_default().deadline = deadline;
        }
        Ok(())
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        match self.socket().set_tcp_nodelay(nodelay) {
            // `EOPNOTSUPP` comes from a socket without the algorithm, which only TCP has.
            Err(error) if error.raw_os_error() == Some(nix::libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket().as_fd())
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.connection.socket().as_fd())
    }
}

/// The latest end of an operation, and the kind of the error at that time.
#[derive(Debug, Clone, Copy)]
struct Bound {
    until: Instant,
    expired: ErrorKind,
}
