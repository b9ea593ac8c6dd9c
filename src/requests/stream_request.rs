//! The request of a stream server: one connection, buffered both ways.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::requests::exchange_clock::{Bound, ExchangeClock};
use crate::requests::read_buffer::{ReadBuffer, read_uninterrupted};
use crate::requests::request::Request;
use crate::requests::write_buffer::WriteBuffer;
use crate::running::extensions::Extensions;
use crate::running::layer_handle::LayerHandle;
use crate::running::request_guard::RequestGuard;
use crate::running::server_handle::ServerHandle;
use crate::transport::absent_stream::AbsentStream;
use crate::transport::connection::Connection;
use crate::transport::prefixed_stream::PrefixedStream;
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
    // A request that is dropped, and not closed, drops these in this order: its descriptor is
    // closed before the guard ends the request.
    stream: Box<dyn Stream>,
    read_buffer: ReadBuffer,
    write_buffer: WriteBuffer,
    timeout: Option<Duration>,
    /// If there are deadlines.
    clock: Option<Box<ExchangeClock>>,
    /// The client has ended its side, and `receive_now` has seen it.
    client_has_ended: bool,
    guard: RequestGuard,
}

/// What [`receive_now`](StreamRequest::receive_now) has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// So many further bytes, at least one. They are at the end of
    /// [`buffer`](StreamRequest::buffer).
    Bytes(usize),
    /// No bytes: nothing has arrived since the last read.
    Nothing,
    /// No bytes, and none will come: the client has ended its side.
    End,
}

impl StreamRequest {
    /// A request over any stream, for a bottom layer or a transport of one's own.
    ///
    /// To test a handler, [`MockStream`](crate::mock::MockStream) is simpler.
    #[must_use]
    pub fn new(stream: Box<dyn Stream>, guard: RequestGuard) -> Self {
        let deadlines = guard.server().deadlines();
        let mut request = Self {
            stream,
            read_buffer: ReadBuffer::new(DEFAULT_BUFFER_SIZE),
            write_buffer: WriteBuffer::new(DEFAULT_BUFFER_SIZE),
            timeout: None,
            clock: None,
            client_has_ended: false,
            guard,
        };
        request.set_deadlines(deadlines);
        request
    }

    /// A request over a connected socket of any family: for a bottom layer of one's own that
    /// accepts connections in its own way.
    ///
    /// The request is registered. A drain interrupts it in [`wait`](Self::wait), and aborts it at
    /// the drain timeout, like those of [`TcpServer`](crate::TcpServer). The socket is to be in
    /// blocking mode.
    #[must_use]
    pub fn from_socket(socket: OwnedFd, client_address: Address, server: &LayerHandle) -> Self {
        let connection = Connection::new(Some(socket.into()));
        let stream = SocketStream::new(connection.clone());
        let guard = server.register_connection(client_address, connection);
        Self::new(Box::new(stream), guard)
    }

    /// Replaces the stream by what `layer` makes of it: for a mix-in that changes the bytes on
    /// their way, such as encryption, in [`prepare_request`](crate::BaseServer::prepare_request).
    ///
    /// Bytes that were received and not yet read are the first that the new stream reads from the
    /// old one. Bytes that were written and not yet sent leave through the new stream.
    ///
    /// # Panics
    ///
    /// If `layer` does. The connection is lost then, and the request can only be closed.
    pub fn map_stream(&mut self, layer: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream>) {
        let mut inner = std::mem::replace(&mut self.stream, Box::new(AbsentStream));
        let unread = self.read_buffer.take();
        if !unread.is_empty() {
            inner = Box::new(PrefixedStream::new(unread, inner));
        }
        self.stream = layer(inner);
    }

    /// Who is at the other end.
    #[must_use]
    #[doc(alias = "peer_addr")]
    pub fn client_address(&self) -> &Address {
        self.guard.client_address()
    }

    /// Corrects who is at the other end, for a layer that learns it from the client's first bytes.
    /// See [`RequestGuard::set_client_address`].
    pub fn set_client_address(&mut self, address: Address) {
        self.guard.set_client_address(address);
    }

    /// The server, as Python's `self.server`: its address, its numbers, and how to stop it.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.guard.server()
    }

    /// What layers keep with this request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.guard.extensions()
    }

    /// What layers keep with this request, to add to it.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.guard.extensions_mut()
    }

    /// The bytes that were received and not yet read. [`consume`](BufRead::consume) takes them.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.read_buffer.bytes()
    }

    /// Takes into the [buffer](Self::buffer) what has arrived, with one read that does not wait:
    /// for a layer's [`prepare_request`](crate::BaseServer::prepare_request).
    ///
    /// # Errors
    ///
    /// Whatever the connection reports, and [`InvalidData`](ErrorKind::InvalidData) if the buffer,
    /// whose size [`set_rbufsize`](Self::set_rbufsize) sets, is full of unread bytes.
    pub fn receive_now(&mut self) -> io::Result<Received> {
        if !self.stream.readable_now()? {
            return Ok(Received::Nothing);
        }
        let count = self.receive(|stream, buffer| buffer.append(stream))?;
        self.client_has_ended = count == 0;
        match count {
            0 if self.guard.is_interrupted() => Err(interrupted()),
            0 => Ok(Received::End),
            count => Ok(Received::Bytes(count)),
        }
    }

    /// Waits for the client's next message: true when it has sent something, false when it has
    /// closed, or when the server is stopping and nothing has arrived.
    ///
    /// `while request.wait()? { … }` is the communication loop of a handler that can be drained:
    /// a server that stops ends the wait of an idle handler at once, and lets a busy one finish its
    /// exchange. A handler that loops over reads alone works too, but its client can hold
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
        self.send_gathered()?;
        if let Some(clock) = &mut self.clock {
            clock.end_exchange();
        }
        if !self.guard.begin_wait() && !self.stream.readable_now()? {
            return Ok(false);
        }
        let received = self.receive(|stream, buffer| buffer.fill(stream));
        self.guard.end_wait();
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

    /// Sets other deadlines for this client than the [server's](ServerHandle::set_deadlines), from
    /// here on. The time that the client has used up in this exchange does not count; the lifetime
    /// still begins when the connection was accepted.
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
    ///         request.set_deadlines(Deadlines::uniform(Duration::from_secs(5)));
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
            None if deadlines == Deadlines::none() => {}
            None => {
                let accepted = self.guard.accepted();
                let clock = ExchangeClock::new(deadlines, accepted);
                self.clock = Some(Box::new(clock));
            }
        }
    }

    /// The deadlines of this connection.
    pub fn deadlines(&self) -> Deadlines {
        let clock = self.clock.as_ref();
        clock.map_or(Deadlines::none(), |clock| clock.deadlines())
    }

    /// The most bytes that are read ahead of the handler; 8192 unless set.
    ///
    /// Python's `rbufsize`. A read into a larger buffer of the handler's own passes this one by.
    /// What is buffered already stays; 0 counts as 1, since a buffered reader holds at least the
    /// byte that it shows.
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
        if self.write_buffer.set_limit(wbufsize) {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Whether small writes leave at once (`TCP_NODELAY`) instead of waiting until earlier ones are
    /// confirmed, as Nagle's algorithm has it; true unless set. Over a Unix socket it has no
    /// effect.
    ///
    /// Python's `disable_nagle_algorithm`, which is off there, because its writes are unbuffered.
    /// Here the writes are gathered, so what is sent is complete, and nothing is gained by holding
    /// it back.
    ///
    /// # Errors
    ///
    /// If the operating system refuses to turn the algorithm on again.
    #[doc(alias = "disable_nagle_algorithm")]
    pub fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        if nodelay {
            self.write_buffer.turn_nagle_off();
            Ok(())
        } else {
            self.write_buffer.leave_nagle();
            self.stream.set_nodelay(false)
        }
    }

    /// The connection's socket, to set options on it; `None` without a network, and as soon as a
    /// layer changes the bytes.
    ///
    /// A read or write through it bypasses the buffers.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.stream.socket()
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

    /// Sends what is gathered, if anything is: this ties the writes to the reads.
    fn send_gathered(&mut self) -> io::Result<()> {
        if self.write_buffer.is_empty() {
            Ok(())
        } else {
            self.send(&[])
        }
    }

    /// Sends what is gathered, and `more` after it, in the time that the client has for it.
    fn send(&mut self, more: &[u8]) -> io::Result<()> {
        let Some(clock) = &mut self.clock else {
            let sent = self.write_buffer.send(&mut *self.stream, more);
            return sent.map_err(|error| self.explain_write(error, None));
        };
        let begun = Instant::now();
        let bound = clock.begin_write(begun);
        self.stream.set_deadline(bound.map(|bound| bound.until))?;
        let sent = self.write_buffer.send(&mut *self.stream, more);
        clock.end_write(begun.elapsed());
        sent.map_err(|error| self.explain_write(error, bound))
    }

    /// Receives what `read` takes, in the time that the client has for it, and returns how many
    /// bytes these are.
    fn receive(
        &mut self,
        read: impl FnOnce(&mut dyn Stream, &mut ReadBuffer) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(clock) = &mut self.clock else {
            let received = read(&mut *self.stream, &mut self.read_buffer);
            return received.map_err(|error| self.explain_read(error, None));
        };
        let begun = Instant::now();
        let bound = clock.begin_read(begun);
        self.stream.set_deadline(bound.map(|bound| bound.until))?;
        let received = read(&mut *self.stream, &mut self.read_buffer);
        clock.end_read(*received.as_ref().unwrap_or(&0), begun.elapsed());
        received.map_err(|error| self.explain_read(error, bound))
    }

    /// The meaning of a failed read.
    fn explain_read(&mut self, error: io::Error, bound: Option<Bound>) -> io::Error {
        if self.guard.is_interrupted() {
            return interrupted();
        }
        self.explain_timeout(error, "received", bound)
    }

    /// The meaning of a failed write, after which nothing more is sent.
    fn explain_write(&mut self, error: io::Error, bound: Option<Bound>) -> io::Error {
        let error = if self.guard.is_aborted() {
            interrupted()
        } else {
            self.explain_timeout(error, "taken", bound)
        };
        self.write_buffer.fail(error.kind());
        error
    }

    fn explain_timeout(
        &mut self,
        error: io::Error,
        undone: &str,
        bound: Option<Bound>,
    ) -> io::Error {
        let network_has_given_up = error.raw_os_error() == Some(Errno::ETIMEDOUT as i32);
        let exceeded = match (error.kind(), self.timeout, bound) {
            _ if network_has_given_up => return error,
            // A stream fails with `WouldBlock` at its timeout, and with `TimedOut` at its deadline.
            (ErrorKind::WouldBlock, Some(timeout), _)
            | (ErrorKind::TimedOut, Some(timeout), None) => io::Error::new(
                ErrorKind::TimedOut,
                format!("nothing was {undone} within {timeout:?}"),
            ),
            (ErrorKind::WouldBlock | ErrorKind::TimedOut, _, Some(bound)) => {
                bound.exceeded.into_error()
            }
            _ => return error,
        };
        self.guard.note_late_client();
        exceeded
    }
}

/// An end of file that the client did not send must not look like one: its message is incomplete.
fn interrupted() -> io::Error {
    io::Error::new(
        ErrorKind::ConnectionAborted,
        "aborted, because the server is stopping",
    )
}

impl Request for StreamRequest {
    fn guard(&self) -> &RequestGuard {
        &self.guard
    }

    fn guard_mut(&mut self) -> &mut RequestGuard {
        &mut self.guard
    }

    fn into_guard(self) -> RequestGuard {
        self.guard
    }

    fn refuse(&mut self, message: &[u8]) {
        self.set_deadlines(Deadlines::uniform(Duration::ZERO));
        // It fails if the client has left, or does not take it at once.
        let _ = self.write_all(message).and_then(|()| self.flush());
        // Closing a connection with unread bytes in it is a reset, which destroys the message.
        let mut unread = [0; 4096];
        for _ in 0..16 {
            if !matches!(self.read(&mut unread), Ok(1..)) {
                break;
            }
        }
    }

    fn send_rest(&mut self, _: bool) -> io::Result<()> {
        self.flush()
    }

    fn begin_preparation(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.begin_preparation();
        }
    }

    fn wait_for_more(&mut self) -> io::Result<bool> {
        if self.client_has_ended {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the client has left before its preamble was complete",
            ));
        }
        self.send_gathered()?;
        let now = Instant::now();
        let bound = self.clock.as_mut().and_then(|clock| clock.begin_read(now));
        if bound.is_some_and(|bound| bound.until <= now) {
            // Also if there are bytes, which a layer that asks again and again has not taken.
            return Err(self.explain_read(ErrorKind::TimedOut.into(), bound));
        }
        if !self.guard.begin_wait() {
            return Ok(false);
        }
        let waited = self.stream.wait_readable(bound.map(|bound| bound.until));
        self.guard.end_wait();
        if self.guard.is_interrupted() {
            return Ok(false);
        }
        match waited {
            Ok(false) => Err(self.explain_read(ErrorKind::TimedOut.into(), bound)),
            waited => waited,
        }
    }

    fn end_preparation(&mut self) {
        if let Some(clock) = &mut self.clock {
            clock.end_preparation();
        }
    }
}

impl BufRead for StreamRequest {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read_buffer.is_empty() {
            self.send_gathered()?;
            let received = self.receive(|stream, buffer| buffer.fill(stream))?;
            if received == 0 && self.guard.is_interrupted() {
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
        if self.read_buffer.may_be_bypassed(buffer.len()) {
            self.send_gathered()?;
            let count = self.receive(|stream, _| read_uninterrupted(stream, buffer))?;
            if count == 0 && self.guard.is_interrupted() {
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
        self.write_buffer.ensure_writable()?;
        if !self.write_buffer.gather(bytes) {
            self.send(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer.ensure_writable()?;
        self.send_gathered()
    }
}
