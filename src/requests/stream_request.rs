//! The request of a stream server: one connection, buffered both ways.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::requests::exchange_clock::{Bound, ExchangeClock};
use crate::requests::read_buffer::{ReadBuffer, read_uninterrupted};
use crate::requests::request::Request;
use crate::running::active_request::ActiveRequest;
use crate::running::server_handle::ServerHandle;
use crate::transport::connection::Connection;
use crate::transport::socket_stream::SocketStream;
use crate::transport::stream::Stream;
use crate::values::address::Address;
use crate::values::deadlines::Deadlines;

/// The size of both buffers unless set otherwise, as `io.DEFAULT_BUFFER_SIZE` is in Python 3.11.
const DEFAULT_BUFFER_SIZE: usize = 8192;

/// One connection: reads, writes, and what is known about the client.
///
/// The counterpart of a `StreamRequestHandler`'s `request`, `rfile`, `wfile`, `client_address` and
/// `server`, whatever carries the bytes: a TCP or Unix socket, or a
/// [mock](crate::mock::MockStream).
///
/// # Reading and writing
///
/// It implements [`Read`], [`BufRead`] and [`Write`], so `read_line`, `lines`, `write!` and
/// everything else built on them work. Both directions are buffered, and the writes are *tied* to
/// the reads: what was written is sent
///
/// * before a read would have to ask the client for more,
/// * when the handler has returned,
/// * when the write buffer is full, and on [`flush`](Write::flush).
///
/// So a prompt is never stuck behind the read that waits for its answer, a header and its body
/// leave in one system call, and the answers to several requests that arrived together leave
/// together. Python's `wfile` is unbuffered instead and sends each write by itself.
///
/// # A conversation
///
/// ```
/// use std::io::{BufRead, Read, Write};
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest};
///
/// /// Counts the bytes of each line.
/// struct Count;
///
/// impl RequestHandler for Count {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         while request.wait()? {
///             let mut line = Vec::new();
///             // A client that never ends its line cannot make it grow.
///             request.take(1000).read_until(b'\n', &mut line)?;
///             writeln!(request, "{}", line.len())?;
///         }
///         Ok(())
///     }
/// }
/// # use socketserver::mock::MockStream;
/// # let recording = MockStream::new().chunk("a\nbcd").chunk("\n").run(Count);
/// # assert_eq!(recording.written(), b"2\n4\n");
/// ```
#[derive(Debug)]
#[doc(alias = "StreamRequestHandler")]
#[doc(alias = "rfile")]
#[doc(alias = "wfile")]
pub struct StreamRequest {
    // Dropped in this order: the connection is closed before the request counts as ended.
    stream: Box<dyn Stream>,
    read_buffer: ReadBuffer,
    write_buffer: Vec<u8>,
    wbufsize: usize,
    /// How a write has failed. The client has a part of what was to come, or is gone; what would be
    /// sent after the gap meant something else.
    write_failure: Option<ErrorKind>,
    timeout: Option<Duration>,
    /// If there are deadlines.
    clock: Option<Box<ExchangeClock>>,
    nagle: Nagle,
    active: ActiveRequest,
}

/// When Nagle's algorithm, which holds a small write back while an earlier one is unconfirmed, is
/// turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nagle {
    /// Before the second write: the first is never held back, and a connection that writes once
    /// needs no system call for it.
    OffBeforeSecondWrite,
    OffBeforeThisWrite,
    Settled,
}

impl StreamRequest {
    /// A request over any stream, for a bottom layer or a transport of one's own.
    ///
    /// To test a handler, [`MockStream`](crate::mock::MockStream) is simpler.
    #[must_use]
    pub fn new(stream: Box<dyn Stream>, active: ActiveRequest) -> Self {
        let deadlines = active.server().deadlines();
        let mut request = Self {
            stream,
            read_buffer: ReadBuffer::new(DEFAULT_BUFFER_SIZE),
            write_buffer: Vec::new(),
            wbufsize: DEFAULT_BUFFER_SIZE,
            write_failure: None,
            timeout: None,
            clock: None,
            nagle: Nagle::OffBeforeSecondWrite,
            active,
        };
        request.set_deadlines(deadlines);
        request
    }

    /// A request over a connected socket of any family: for a bottom layer of one's own that accepts
    /// connections in its own way.
    ///
    /// It is told of a drain in [`wait`](Self::wait), and cut off at its end, as those of
    /// [`TcpServer`](crate::TcpServer) are. The socket is to be in blocking mode.
    #[must_use]
    pub fn from_socket(socket: OwnedFd, client_address: Address, server: &ServerHandle) -> Self {
        let connection = Connection::new(Some(socket.into()), client_address.ip());
        let stream = SocketStream::new(connection.clone());
        let active = server.begin_connection(client_address, connection);
        Self::new(Box::new(stream), active)
    }

    /// The same request over what `layer` makes of its stream: for a mix-in that changes the bytes on
    /// their way, such as encryption, in [`get_request`](crate::BaseServer::get_request).
    ///
    /// What has been read into the buffer before stays there unchanged.
    #[must_use]
    pub fn map_stream(mut self, layer: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream>) -> Self {
        self.stream = layer(self.stream);
        self
    }

    /// Who is at the other end.
    #[must_use]
    pub fn client_address(&self) -> &Address {
        self.active.client_address()
    }

    /// The server, as Python's `self.server`: its address, and the word to stop.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.active.server()
    }

    /// Waits for the client's next message: true when it has sent something, false when it has
    /// closed, or when the server is stopping and nothing has arrived.
    ///
    /// `while request.wait()? { … }` is the communication loop of a handler that can be drained:
    /// a server that stops tells it at once where it stands idle, and lets it finish what it is
    /// about otherwise. A handler that loops over reads alone works too, but its client can hold
    /// it until the drain timeout. What was written is sent before the wait.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](ErrorKind::TimedOut) when the [timeout](Self::set_timeout) or a
    /// [deadline](Self::set_deadlines) is over, and whatever the connection reports, such as
    /// [`ConnectionReset`](ErrorKind::ConnectionReset).
    pub fn wait(&mut self) -> io::Result<bool> {
        if !self.read_buffer.is_empty() {
            if let Some(clock) = &mut self.clock {
                clock.begin_exchange();
            }
            return Ok(true);
        }
        self.send_buffered()?;
        if let Some(clock) = &mut self.clock {
            clock.end_exchange();
        }
        if !self.active.begin_wait() && !self.stream.readable_now()? {
            return Ok(false);
        }
        let received = self.receive(|stream, buffer| buffer.fill(stream));
        self.active.end_wait();
        Ok(received? > 0)
    }

    /// Bounds every single read and write: one that takes longer fails with
    /// [`TimedOut`](ErrorKind::TimedOut). `None`, the default, means no bound.
    ///
    /// Python's `timeout` of a `StreamRequestHandler`; called in
    /// [`setup`](crate::RequestHandler::setup) it has the same place. The bound is for one system
    /// call: a client that sends a byte now and then stays within it, but not within
    /// [deadlines](Self::set_deadlines).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `timeout` is zero, or what the operating system
    /// reports.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a timeout of zero would end every read at once; None means no timeout",
            ));
        }
        self.stream.set_timeout(timeout)?;
        self.timeout = timeout;
        Ok(())
    }

    /// Gives the client other deadlines than the [server's](ServerHandle::set_deadlines), from here
    /// on. What it has used up of the old ones in this exchange does not count; the lifetime still
    /// begins when the connection was accepted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use socketserver::{Deadlines, HandlerResult, RequestHandler, StreamRequest};
    ///
    /// /// Wants to know the password soon; after that, the client has its time.
    /// struct Guarded;
    ///
    /// impl RequestHandler for Guarded {
    ///     fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
    ///         let deadlines = request.deadlines();
    ///         request.set_deadlines(Deadlines::each(Duration::from_secs(5)));
    ///         // … ask for the password here …
    ///         request.set_deadlines(deadlines);
    ///         Ok(())
    ///     }
    ///
    ///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
    ///         Ok(())
    ///     }
    /// }
    /// # socketserver::mock::MockStream::new().run(Guarded);
    /// ```
    pub fn set_deadlines(&mut self, deadlines: Deadlines) {
        match &mut self.clock {
            Some(clock) => clock.set_deadlines(deadlines),
            None if deadlines == Deadlines::new() => {}
            None => {
                let clock = ExchangeClock::new(deadlines, self.active.accepted());
                self.clock = Some(Box::new(clock));
            }
        }
    }

    /// The deadlines of this connection.
    pub fn deadlines(&self) -> Deadlines {
        let clock = self.clock.as_ref();
        clock.map_or(Deadlines::new(), |clock| clock.deadlines())
    }

    /// The most bytes that are read ahead of the handler; 8192 unless set.
    ///
    /// Python's `rbufsize`. A read into a larger buffer of the handler's own passes this one by. What
    /// is buffered already stays; 0 counts as 1, since a buffered reader holds at least the byte that
    /// it shows.
    pub fn set_rbufsize(&mut self, rbufsize: usize) {
        self.read_buffer.set_limit(rbufsize.max(1));
    }

    /// The most bytes that wait to be sent; 8192 unless set. 0 sends every write by itself, as
    /// Python does.
    ///
    /// Python's `wbufsize`.
    ///
    /// # Errors
    ///
    /// As [`flush`](Write::flush), if more is waiting than the new size allows.
    pub fn set_wbufsize(&mut self, wbufsize: usize) -> io::Result<()> {
        self.wbufsize = wbufsize;
        if self.write_buffer.len() > wbufsize {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Whether small writes go out at once instead of waiting until earlier ones are confirmed;
    /// true unless set. Over a Unix socket it means nothing.
    ///
    /// Python's `disable_nagle_algorithm`, which is off there, because its writes are unbuffered.
    /// Here they are gathered, so what is sent is complete and nothing is won by holding it back.
    ///
    /// # Errors
    ///
    /// If the operating system refuses to turn the algorithm on again.
    pub fn disable_nagle_algorithm(&mut self, disable: bool) -> io::Result<()> {
        if disable {
            self.nagle = Nagle::OffBeforeThisWrite;
            Ok(())
        } else {
            self.nagle = Nagle::Settled;
            self.stream.set_nodelay(false)
        }
    }

    /// The connection's descriptor, to set options on it; `None` without a network.
    ///
    /// Reading or writing through it passes the buffers by.
    #[must_use]
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_fd()
    }

    /// Ends one direction, or both; what is buffered is sent before the writing side ends.
    ///
    /// # Errors
    ///
    /// If that cannot be sent, or the connection has ended already.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        let sent = match how {
            Shutdown::Read => Ok(()),
            Shutdown::Write | Shutdown::Both => self.flush(),
        };
        // The client is to learn that nothing follows, also where that was not all.
        sent.and(self.stream.shutdown(how))
    }

    /// Sends what is buffered, if anything is: what ties the writes to the reads.
    fn send_buffered(&mut self) -> io::Result<()> {
        if self.write_buffer.is_empty() {
            Ok(())
        } else {
            self.send(&[])
        }
    }

    /// Sends what is buffered, and `more` after it, in as few system calls as it takes.
    fn send(&mut self, more: &[u8]) -> io::Result<()> {
        let begun = match &self.clock {
            Some(clock) => {
                let now = Instant::now();
                let bound = clock.begin_write(now);
                self.stream.set_deadline(bound.map(|bound| bound.until))?;
                Some((now, bound))
            }
            None => None,
        };
        let sent = self.send_all(more, begun.and_then(|(_, bound)| bound));
        if let (Some(clock), Some((begun, _))) = (&mut self.clock, begun) {
            clock.end_write(begun.elapsed());
        }
        sent
    }

    fn send_all(&mut self, more: &[u8], bound: Option<Bound>) -> io::Result<()> {
        let buffered = self.write_buffer.len();
        let total = buffered + more.len();
        let mut sent = 0;
        let mut failure = None;
        while sent < total {
            match self.nagle {
                Nagle::OffBeforeSecondWrite => self.nagle = Nagle::OffBeforeThisWrite,
                Nagle::OffBeforeThisWrite => {
                    self.nagle = Nagle::Settled;
                    // Delay, should it fail, is no reason to give the client up.
                    let _ = self.stream.set_nodelay(true);
                }
                Nagle::Settled => {}
            }
            let written = match (buffered.saturating_sub(sent), more) {
                (0, more) => self.stream.write(&more[sent - buffered..]),
                (_, []) => self.stream.write(&self.write_buffer[sent..]),
                (_, more) => self.stream.write_vectored(&[
                    IoSlice::new(&self.write_buffer[sent..]),
                    IoSlice::new(more),
                ]),
            };
            match written {
                Ok(0) => {
                    let message = "the connection takes no more bytes";
                    failure = Some(io::Error::new(ErrorKind::WriteZero, message));
                }
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => failure = Some(self.explain_write(error, bound)),
            }
            if failure.is_some() {
                break;
            }
        }
        self.write_buffer.clear();
        match failure {
            None => self.stream.flush(),
            Some(error) => {
                self.write_failure = Some(error.kind());
                Err(error)
            }
        }
    }

    /// Fails once a write has failed.
    fn check_writable(&self) -> io::Result<()> {
        match self.write_failure {
            None => Ok(()),
            Some(kind) => Err(io::Error::new(
                kind,
                "an earlier write to this connection failed, so nothing more is sent",
            )),
        }
    }

    /// Takes in what `read` gets, in the time that the client has for it, and tells how many bytes
    /// that were.
    fn receive(
        &mut self,
        read: impl FnOnce(&mut Box<dyn Stream>, &mut ReadBuffer) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(clock) = &mut self.clock else {
            let received = read(&mut self.stream, &mut self.read_buffer);
            return received.map_err(|error| self.explain_read(error, None));
        };
        let begun = Instant::now();
        let bound = clock.begin_read(begun);
        self.stream.set_deadline(bound.map(|bound| bound.until))?;
        let received = read(&mut self.stream, &mut self.read_buffer);
        clock.end_read(*received.as_ref().unwrap_or(&0), begun.elapsed());
        received.map_err(|error| self.explain_read(error, bound))
    }

    /// Says of a failed read what it means.
    fn explain_read(&self, error: io::Error, bound: Option<Bound>) -> io::Error {
        if self.active.is_interrupted() {
            return interrupted();
        }
        self.explain_timeout(error, "received", bound)
    }

    /// Says of a failed write what it means.
    fn explain_write(&self, error: io::Error, bound: Option<Bound>) -> io::Error {
        if self.active.is_cut() {
            return interrupted();
        }
        self.explain_timeout(error, "taken", bound)
    }

    fn explain_timeout(
        &self,
        error: io::Error,
        what_was_not_done: &str,
        bound: Option<Bound>,
    ) -> io::Error {
        let network_has_given_up = error.raw_os_error() == Some(Errno::ETIMEDOUT as i32);
        let is_timeout = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if network_has_given_up || !is_timeout {
            return error;
        }
        let exceeded = match (self.timeout, bound) {
            // Where there are both, the timeout has ended it before the deadline.
            (Some(timeout), bound) if bound.is_none_or(|it| Instant::now() < it.until) => {
                io::Error::new(
                    ErrorKind::TimedOut,
                    format!("nothing was {what_was_not_done} within {timeout:?}"),
                )
            }
            (_, Some(bound)) => bound.exceeded.into_error(),
            (_, None) => return error,
        };
        self.active.note_late_client();
        exceeded
    }
}

/// An end of file that the client did not send must not look like one: what it sent is cut short.
fn interrupted() -> io::Error {
    io::Error::new(
        ErrorKind::ConnectionAborted,
        "cut off, because the server is stopping",
    )
}

impl Request for StreamRequest {
    fn active(&self) -> &ActiveRequest {
        &self.active
    }

    fn active_mut(&mut self) -> &mut ActiveRequest {
        &mut self.active
    }

    fn turn_away(&mut self, message: &[u8]) {
        self.set_deadlines(Deadlines::each(Duration::ZERO));
        // It fails if the client has left, or does not take it at once.
        let _ = self.write_all(message).and_then(|()| self.flush());
        // Closing a connection with unread bytes in it is a reset, which takes the message along.
        let mut unread = [0; 4096];
        for _ in 0..16 {
            if !matches!(self.read(&mut unread), Ok(1..)) {
                break;
            }
        }
    }
}

impl BufRead for StreamRequest {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read_buffer.is_empty() {
            self.send_buffered()?;
            let received = self.receive(|stream, buffer| buffer.fill(stream))?;
            if received == 0 && self.active.is_interrupted() {
                return Err(interrupted());
            }
        }
        Ok(self.read_buffer.bytes())
    }

    fn consume(&mut self, amount: usize) {
        self.read_buffer.consume(amount);
    }
}

impl Read for StreamRequest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read_buffer.may_be_passed_by(buffer.len()) {
            self.send_buffered()?;
            let count = self.receive(|stream, _| read_uninterrupted(stream, buffer))?;
            if count == 0 && self.active.is_interrupted() {
                return Err(interrupted());
            }
            return Ok(count);
        }
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Write for StreamRequest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check_writable()?;
        if self.write_buffer.len() + bytes.len() <= self.wbufsize {
            self.write_buffer.extend_from_slice(bytes);
        } else {
            self.send(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check_writable()?;
        self.send_buffered()
    }
}
