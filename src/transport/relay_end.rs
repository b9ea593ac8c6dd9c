//! One end of a relay, which is read and written without waiting.

use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::libc::MSG_DONTWAIT;
use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;

use crate::support::deadline::Deadline;
use crate::transport::poll::writable_by;
use crate::transport::reading::Reading;
use crate::transport::stream::{Stream, has_expired};
use crate::transport::sys::NO_SIGNAL;
use crate::transport::traffic::Traffic;

/// The most bytes of one write through a layer. A layer may have to send all of a write before the
/// write returns, and poll(2) promises room for about this much.
const LAYER_WRITE: usize = 4096;

/// The deadline of a write through a layer if there is no other. With any deadline, a socket takes
/// as many bytes as it has room for, and returns.
const FAR_AWAY: Duration = Duration::from_secs(24 * 3600);

/// The other side of a [`relay`](crate::StreamRequest::relay): a [`TcpStream`], a [`UnixStream`],
/// or any [`Stream`], such as that of a TLS client.
///
/// A type of your own implements [`Stream`], and every [`Stream`] implements this trait.
pub trait RelayPeer {
    /// Returns the end that the relay reads and writes.
    #[doc(hidden)]
    fn relay_end(&mut self) -> RelayEnd<'_>;
}

impl RelayPeer for TcpStream {
    fn relay_end(&mut self) -> RelayEnd<'_> {
        RelayEnd::of_socket(TcpStream::as_fd(self), None)
    }
}

impl RelayPeer for UnixStream {
    fn relay_end(&mut self) -> RelayEnd<'_> {
        RelayEnd::of_socket(UnixStream::as_fd(self), None)
    }
}

impl<S: Stream> RelayPeer for S {
    fn relay_end(&mut self) -> RelayEnd<'_> {
        RelayEnd::of_stream(self, None)
    }
}

impl RelayPeer for dyn Stream + '_ {
    fn relay_end(&mut self) -> RelayEnd<'_> {
        RelayEnd::of_stream(self, None)
    }
}

/// One end of a relay.
#[derive(Debug)]
pub struct RelayEnd<'a> {
    transport: Transport<'a>,
    /// The latest end of a write through a layer.
    write_by: Option<Instant>,
}

#[derive(Debug)]
enum Transport<'a> {
    /// Every call goes to the socket itself with `MSG_DONTWAIT`; no option of the socket changes.
    Socket(BorrowedFd<'a>, Option<Books<'a>>),
    Layer(&'a mut dyn Stream),
}

impl<'a> RelayEnd<'a> {
    fn of_socket(socket: BorrowedFd<'a>, books: Option<Books<'a>>) -> Self {
        Self {
            transport: Transport::Socket(socket, books),
            write_by: None,
        }
    }

    /// Makes the end of a stream. If the bytes of the stream are those of its socket, the relay
    /// bypasses the stream, and notes its reads and writes in `books`.
    pub(crate) fn of_stream(stream: &'a mut dyn Stream, books: Option<Books<'a>>) -> Self {
        let transport = if stream.socket().is_some() {
            let stream: &'a dyn Stream = stream;
            let socket = stream.socket().expect("it was there above");
            Transport::Socket(socket, books)
        } else {
            Transport::Layer(stream)
        };
        Self {
            transport,
            write_by: None,
        }
    }

    /// Returns the descriptor to wait on; `None` if the stream has none.
    pub(crate) fn readiness(&self) -> Option<BorrowedFd<'_>> {
        match &self.transport {
            Transport::Socket(socket, _) => Some(*socket),
            Transport::Layer(stream) => stream.readiness(),
        }
    }

    pub(crate) fn set_write_deadline(&mut self, deadline: Option<Instant>) {
        self.write_by = deadline;
    }

    /// Reads the bytes that have arrived. Returns `None` if there are none. `was_readable` is true
    /// if a poll has found the descriptor readable.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        was_readable: bool,
    ) -> io::Result<Option<usize>> {
        match &mut self.transport {
            Transport::Socket(socket, books) => {
                let size = buffer.len();
                let received =
                    uninterrupted(|| Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?));
                if let Some(books) = books {
                    books.note_read(&received, size);
                }
                at_once(received)
            }
            Transport::Layer(stream) => {
                if !was_readable && !stream.readable_now()? {
                    return Ok(None);
                }
                // The read fails at this deadline if the layer needs more than has arrived.
                stream.set_deadline(Some(Instant::now()))?;
                at_once(uninterrupted(|| stream.read(buffer)))
            }
        }
    }

    /// Waits for the next bytes of a stream that has no descriptor, which returns at once.
    pub(crate) fn wait_without_descriptor(&mut self) -> io::Result<bool> {
        match &mut self.transport {
            Transport::Socket(..) => Ok(true),
            Transport::Layer(stream) => stream.wait_readable(Some(Instant::now())),
        }
    }

    /// Writes as many bytes as there is room for. Returns `None` if there is no room.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let sent = match &mut self.transport {
            Transport::Socket(socket, books) => {
                let flags = NO_SIGNAL | MSG_DONTWAIT;
                let socket = SockRef::from(&*socket);
                let sent = uninterrupted(|| socket.send_with_flags(bytes, flags));
                if let Some(books) = books {
                    books.note_sent(&sent);
                }
                at_once(sent)?
            }
            Transport::Layer(stream) => {
                let now = Instant::now();
                if let Some(descriptor) = stream.readiness()
                    && !writable_by(descriptor, Deadline::at(now))?
                {
                    return Ok(None);
                }
                stream.set_deadline(Some(self.write_by.unwrap_or(now + FAR_AWAY)))?;
                // A layer that fails in a write cannot go on, because a part of the bytes may have
                // been sent.
                let part = &bytes[..bytes.len().min(LAYER_WRITE)];
                let sent = uninterrupted(|| stream.write(part))?;
                uninterrupted(|| stream.flush())?;
                Some(sent)
            }
        };
        match sent {
            Some(0) => Err(ErrorKind::WriteZero.into()),
            sent => Ok(sent),
        }
    }

    /// Ends one direction, or both. The peer may have done so before.
    pub(crate) fn shut_down(&mut self, how: Shutdown) {
        let _ = match &mut self.transport {
            Transport::Socket(socket, _) => SockRef::from(&*socket).shutdown(how),
            Transport::Layer(stream) => stream.shutdown(how),
        };
    }

    /// Removes the deadlines that the relay has set.
    pub(crate) fn remove_deadline(&mut self) {
        if let Transport::Layer(stream) = &mut self.transport {
            // The call fails for a stream without deadlines, which has none to remove.
            let _ = stream.set_deadline(None);
        }
    }
}

/// The notes of a request about the reads and writes of its connection. Its stream makes the same
/// notes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Books<'a> {
    pub traffic: &'a Traffic,
    /// The note for the close, if the connection has a network.
    pub reading: Option<&'a Reading>,
}

impl Books<'_> {
    fn note_read(&self, read: &io::Result<usize>, size: usize) {
        if let Ok(count) = read {
            self.traffic.count_received(*count as u64);
        }
        if let Some(reading) = self.reading {
            reading.note_read(read, size);
        }
    }

    fn note_sent(&self, sent: &io::Result<usize>) {
        match (sent, self.reading) {
            (Ok(count), _) => self.traffic.count_sent(*count as u64),
            (Err(error), Some(reading)) => reading.note_error(error),
            (Err(_), None) => {}
        }
    }
}

/// Turns the error of an operation that would have had to wait into `None`.
fn at_once(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if has_expired(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `operation` until no signal interrupts it.
fn uninterrupted<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
