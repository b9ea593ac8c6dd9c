//! The request of a stream server: one connection, buffered both ways.

mod messages;
mod parking;
mod relay;
mod send_file;
mod socket_access;
mod turn;
mod waits;

pub use messages::MessageError;
pub use relay::Relayed;
pub use socket_access::Detached;
pub use waits::Waited;

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::requests::exchange_clock::{Bounds, ExchangeClock};
use crate::requests::kept_handler::Turns;
use crate::requests::outbox::OutboxReceiver;
use crate::requests::parking::{Parking, WaitForMore};
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
use crate::values::cause::ends_connection;
use crate::values::deadlines::{DeadlineExceeded, Deadlines};
use crate::values::error::HandlerResult;

/// The default size of both buffers: that of `io.DEFAULT_BUFFER_SIZE` in Python 3.11.
const DEFAULT_BUFFER_SIZE: usize = 8192;

/// One connection, to read from and to write to, with its client's address.
///
/// The counterpart of a `StreamRequestHandler`'s `request`, `rfile`, `wfile`, `client_address` and
/// `server`, over a TCP or Unix socket, or a [mock](crate::mock::MockStream).
///
/// # Reading and writing
///
/// The request implements [`Read`], [`BufRead`] and [`Write`], so that `read_line`, `lines` and
/// `write!` work. Both directions are buffered, and the writes are *tied* to the reads: written
/// bytes are sent
///
/// * before a read that would wait for the client,
/// * when the handler has returned,
/// * when the write buffer is full, and on [`flush`](Write::flush).
///
/// So a prompt is sent before the read that waits for its answer. A header and its body are sent in
/// one system call, and so are the answers to several messages that arrived together. Python's
/// `wfile` is unbuffered: it sends each write by itself.
///
/// # A conversation
///
/// ```
/// use std::io::Write;
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest};
///
/// /// Counts the bytes of each line.
/// struct Count;
///
/// impl RequestHandler for Count {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         // A client that never ends its line cannot make it grow.
///         while let Some(line) = request.next_line(1000)? {
///             writeln!(request, "{}", line.len())?;
///         }
///         Ok(())
///     }
/// }
/// # use socketserver::mock::MockStream;
/// # let recording = MockStream::new().chunk("a\nbcd").chunk("\n").run(Count);
/// # assert_eq!(recording.written(), b"1\n3\n");
/// ```
#[derive(Debug)]
#[doc(alias = "StreamRequestHandler")]
#[doc(alias = "rfile")]
#[doc(alias = "wfile")]
pub struct StreamRequest {
    // A request that is dropped drops its fields in this order: the descriptor is closed before the
    // guard ends the request.
    stream: Box<dyn Stream>,
    read_buffer: ReadBuffer,
    write_buffer: WriteBuffer,
    /// Set once a single read or write is bounded.
    timeouts: Option<Box<Timeouts>>,
    /// Set if the connection has deadlines.
    clock: Option<Box<ExchangeClock>>,
    /// Whether `receive_now` has reached the end of file.
    client_has_ended: bool,
    /// The bytes received since the last answer was sent.
    received_in_exchange: u64,
    /// Set while the layers prepare the request.
    preparation: Option<Progress>,
    /// Whether a refusal sends no message, because the client could not read the message yet.
    refuses_silently: bool,
    /// How many bytes of the present message are read.
    read_of_message: usize,
    /// Why no further message can be read.
    reading_ended: Option<Box<MessageError>>,
    /// When the handler began to wait for messages; set while turns are bounded.
    turn_began: Option<Instant>,
    /// Set once the handler has asked for the outbox.
    outbox: Option<Box<OutboxReceiver>>,
    /// Whether the next `wait_beside` looks at the other descriptor first.
    other_is_next: bool,
    /// Whether the handler wants no further exchange.
    closes: bool,
    /// Set under a reactor.
    turns: Option<Turns<Self>>,
    guard: RequestGuard,
}

/// The bounds of every single read and write.
#[derive(Debug, Default)]
struct Timeouts {
    /// The handler's own bound.
    own: Option<Duration>,
    /// The bound of the stream: the handler's own bound, or what the deadlines leave.
    of_stream: Option<Duration>,
}

impl StreamRequest {
    /// Makes a request over any stream, for a bottom layer or a transport of your own.
    ///
    /// To test a handler, [`MockStream`](crate::mock::MockStream) is simpler.
    #[must_use]
    pub fn new(stream: Box<dyn Stream>, guard: RequestGuard) -> Self {
        let deadlines = guard.server().deadlines();
        let mut request = Self {
            stream,
            read_buffer: ReadBuffer::new(DEFAULT_BUFFER_SIZE),
            write_buffer: WriteBuffer::new(DEFAULT_BUFFER_SIZE),
            timeouts: None,
            clock: None,
            client_has_ended: false,
            received_in_exchange: 0,
            preparation: None,
            refuses_silently: false,
            read_of_message: 0,
            reading_ended: None,
            turn_began: None,
            outbox: None,
            other_is_next: false,
            closes: false,
            turns: None,
            guard,
        };
        request.set_deadlines(deadlines);
        request
    }

    /// Makes and registers a request over a connected socket of any family, for a bottom layer of
    /// your own. The socket has to be in blocking mode.
    ///
    /// As with [`TcpServer`](crate::TcpServer), a drain interrupts the request in
    /// [`wait`](Self::wait), and aborts it at the drain timeout.
    #[must_use]
    pub fn from_socket(socket: OwnedFd, client_address: Address, server: &LayerHandle) -> Self {
        let connection = Connection::new(Some(socket.into()));
        let stream = SocketStream::new(connection.clone());
        let guard = server.register_connection(client_address, connection);
        Self::new(Box::new(stream), guard)
    }

    /// Replaces the stream by the stream that `layer` makes of it. A mix-in that changes the bytes
    /// on their way, for encryption for example, calls this in
    /// [`prepare_request`](crate::BaseServer::prepare_request).
    ///
    /// The new stream first reads the received bytes that are still unread. Written bytes that are
    /// still unsent are sent through the new stream. In Python, an override of `get_request`
    /// returns a socket of another kind, such as an `ssl.SSLSocket`.
    ///
    /// # Panics
    ///
    /// If `layer` panics. Then the connection is lost, and every operation on the request fails.
    pub fn map_stream(&mut self, layer: impl FnOnce(Box<dyn Stream>) -> Box<dyn Stream>) {
        let mut inner = std::mem::replace(&mut self.stream, Box::new(AbsentStream::Replaced));
        let (unread, failure) = self.read_buffer.take();
        if !unread.is_empty() || failure.is_some() {
            inner = Box::new(PrefixedStream::new(unread, failure, inner));
        }
        self.stream = layer(inner);
    }

    /// Returns the client's address. Python's `client_address`.
    #[must_use]
    #[doc(alias = "peer_addr")]
    pub fn client_address(&self) -> &Address {
        self.guard.client_address()
    }

    /// Corrects the client's address. A layer that reads the address from the client's first bytes
    /// calls this method. See [`RequestGuard::set_client_address`].
    pub fn set_client_address(&mut self, address: Address) {
        self.guard.set_client_address(address);
    }

    /// Returns the handle of the server: its address, its statistics, and the methods that stop it.
    /// Python's `self.server`.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.guard.server()
    }

    /// Returns whether the server has aborted the request, at the drain timeout. Every read and
    /// write fails from then on. A handler needs this method if it works for its client by other
    /// means than reads and writes, such as a program to which it has passed the socket. Python has
    /// no counterpart.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.guard.is_aborted()
    }

    /// Returns the values that layers keep with this request.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        self.guard.extensions()
    }

    /// Returns the values that layers keep with this request, to change them.
    #[must_use]
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        self.guard.extensions_mut()
    }

    /// Sets whether a refusal sends no message, because the connection is to be encrypted first.
    #[cfg(feature = "tls")]
    pub(crate) fn refuse_silently(&mut self, silently: bool) {
        self.refuses_silently = silently;
    }

    /// Returns the received bytes that are still unread. [`consume`](BufRead::consume) removes
    /// bytes from the front.
    #[must_use]
    pub fn buffer(&self) -> &[u8] {
        self.read_buffer.bytes()
    }

    /// Receives what has arrived into the [buffer](Self::buffer), with one read that does not wait.
    /// A layer calls this in its [`prepare_request`](crate::BaseServer::prepare_request). Python's
    /// counterpart is `recv` with `MSG_DONTWAIT`.
    ///
    /// # Errors
    ///
    /// The errors of the connection, and [`InvalidData`](ErrorKind::InvalidData) if the buffer,
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

    /// Bounds every single read and write. A call fails with [`TimedOut`](ErrorKind::TimedOut) when
    /// the client has sent nothing, or has taken nothing, for this time. `None`, the default, means
    /// no bound. Over a socket, less than a millisecond counts as one millisecond.
    ///
    /// Python's `timeout` of a `StreamRequestHandler`, which its `setup` sets. Here too a handler
    /// calls this method in [`setup`](crate::RequestHandler::setup). The timeout bounds the wait
    /// for the next message as well; [`Deadlines::progress`] is a bound for the middle of a message
    /// or an answer alone. A client that sends a byte now and then stays within both, but not
    /// within [`Deadlines::read`].
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) if `timeout` is zero, and the errors of the
    /// operating system.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a timeout of zero would end every read at once; None means no timeout",
            ));
        }
        self.stream.set_timeout(timeout)?;
        *self.timeouts.get_or_insert_default().as_mut() = Timeouts {
            own: timeout,
            of_stream: timeout,
        };
        Ok(())
    }

    /// Sets the deadlines of this connection from now on, in place of the
    /// [server's](ServerHandle::set_deadlines). The exchange under way has its whole time again;
    /// the lifetime still begins at the accept. Python has no counterpart.
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
                let mut clock = ExchangeClock::new(deadlines, accepted);
                if self.preparation.is_some() {
                    clock.begin_preparation();
                }
                self.clock = Some(Box::new(clock));
            }
        }
    }

    /// Returns the deadlines of this connection.
    pub fn deadlines(&self) -> Deadlines {
        let clock = self.clock.as_ref();
        clock.map_or(Deadlines::none(), |clock| clock.deadlines())
    }

    /// Sets the size of the read buffer in bytes: the largest number of bytes that are read before
    /// the handler asks for them. The default is 8192. 0 counts as 1, since a buffered reader holds
    /// at least the byte that it shows.
    ///
    /// Python's `rbufsize`. While the buffer is empty, a read of at least 512 bytes, or of at least
    /// this size, goes directly to the connection. Bytes that are buffered already stay in the
    /// buffer.
    pub fn set_rbufsize(&mut self, rbufsize: usize) {
        self.read_buffer.set_limit(rbufsize.max(1));
    }

    /// Sets the size of the write buffer in bytes: the largest number of bytes that wait to be
    /// sent. The default is 8192. 0 sends every write by itself, as Python does.
    ///
    /// Python's `wbufsize`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`flush`](Write::flush), which this method calls if more bytes wait
    /// than the new size allows.
    pub fn set_wbufsize(&mut self, wbufsize: usize) -> io::Result<()> {
        if self.write_buffer.set_limit(wbufsize) {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Sets `TCP_NODELAY`; true unless set. True sends small writes at once; false delays them
    /// until earlier writes are confirmed (Nagle's algorithm). No effect over a Unix socket.
    ///
    /// Python's `disable_nagle_algorithm`, which is false by default, because Python's writes are
    /// unbuffered. Here each write to the socket is a complete answer, so a delay would gain
    /// nothing.
    ///
    /// # Errors
    ///
    /// The errors of the operating system, if `nodelay` is false. If it is true, the option is set
    /// later, before a write, and an error is ignored.
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

    /// Returns the connection's socket, to set options on it; `None` without a network, or if a
    /// layer changes the bytes. Python's `self.request`.
    ///
    /// A read or write through the socket bypasses the buffers.
    #[must_use]
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.stream.socket()
    }

    /// Ends one direction of the connection, or both. Buffered bytes are sent before the writing
    /// side ends. Python's `self.request.shutdown(how)`.
    ///
    /// # Errors
    ///
    /// If the bytes cannot be sent, or the connection has ended already.
    pub fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        let sent = match how {
            Shutdown::Read => Ok(()),
            Shutdown::Write | Shutdown::Both => self.flush(),
        };
        // Even after a failed flush, the client reads the end of the stream.
        sent.and(self.end_stream(how))
    }

    /// Ends one direction of the stream, or both. If a layer sends a notice of the end, the
    /// deadline of the answer bounds that.
    fn end_stream(&mut self, how: Shutdown) -> io::Result<()> {
        if self.clock.is_some() && how != Shutdown::Read {
            return self.send_in_time(|stream, _, _| (0, stream.shutdown(how)));
        }
        self.stream.shutdown(how)
    }

    /// Returns the handler's own bound of every single read and write.
    fn timeout(&self) -> Option<Duration> {
        self.timeouts.as_ref().and_then(|it| it.own)
    }

    /// Sends the gathered bytes, if any, before a read: this ties the writes to the reads.
    fn send_gathered(&mut self) -> io::Result<()> {
        if self.write_buffer.is_empty() {
            Ok(())
        } else {
            self.send(&[])
        }
    }

    /// Gathers `bytes`, or sends them after the gathered bytes if they do not fit.
    fn gather(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_buffer.ensure_writable()?;
        if self.write_buffer.gather(bytes) {
            Ok(())
        } else {
            self.send(bytes)
        }
    }

    /// Sends the gathered bytes, then `more`, within the deadline of the client's exchange.
    fn send(&mut self, more: &[u8]) -> io::Result<()> {
        self.send_in_time(|stream, buffer, end| {
            // Bytes that were written in time are sent after the end too, as far as the stream
            // takes them.
            let end = end.filter(|_| !more.is_empty());
            let sent = buffer.send(stream, more, end);
            (sent.count, sent.result)
        })
    }

    /// Calls `send` within the deadline of the client's exchange, with the end of all time that the
    /// client has. Returns the result of the call, which comes with the number of sent bytes.
    fn send_in_time<T, F>(&mut self, send: F) -> io::Result<T>
    where
        F: FnOnce(&mut dyn Stream, &mut WriteBuffer, Option<Instant>) -> (usize, io::Result<T>),
    {
        let Some(clock) = &mut self.clock else {
            let before = self.guard.traffic().sent();
            let (_, sent) = send(&mut *self.stream, &mut self.write_buffer, None);
            return self.note_sent(sent, before, Bounds::default());
        };
        let before = self.guard.traffic().sent();
        let begun = Instant::now();
        let end = clock.end().map(|end| end.until);
        let bounds = clock.begin_write(begun);
        self.bound_stream(bounds)?;
        let (count, sent) = send(&mut *self.stream, &mut self.write_buffer, end);
        if let Some(clock) = &mut self.clock {
            clock.end_write(count, begun.elapsed());
        }
        self.note_sent(sent, before, bounds)
    }

    /// Notes the end of an exchange, or the error that its handler receives. `before` is the number
    /// of bytes that were sent before the write.
    fn note_sent<T>(&mut self, sent: io::Result<T>, before: u64, bounds: Bounds) -> io::Result<T> {
        match sent {
            Ok(sent) => {
                self.received_in_exchange = self.read_buffer.bytes().len() as u64;
                Ok(sent)
            }
            Err(error) => {
                let is_partial = self.guard.traffic().sent() > before;
                if ends_connection(&error) {
                    let in_exchange = is_partial || self.received_in_exchange > 0;
                    self.guard.note_client_left(in_exchange);
                }
                Err(self.explain_write(error, bounds))
            }
        }
    }

    /// Bounds the next operation of the stream.
    fn bound_stream(&mut self, bounds: Bounds) -> io::Result<()> {
        self.stream.set_deadline(bounds.whole.map(|it| it.until))?;
        // A timeout is never zero.
        let progress = bounds.progress.map(|it| it.max(Duration::from_nanos(1)));
        let timeout = self.timeout().into_iter().chain(progress).min();
        let present = self.timeouts.as_ref().and_then(|it| it.of_stream);
        if timeout != present {
            self.stream.set_timeout(timeout)?;
            self.timeouts.get_or_insert_default().of_stream = timeout;
        }
        Ok(())
    }

    /// Fails if the lifetime of the connection, or the time of its preparation, is over. Reads the
    /// clock only if one of the two is bounded.
    fn ensure_in_time(&mut self) -> io::Result<()> {
        match self.clock.as_ref().and_then(|clock| clock.end()) {
            Some(end) if end.until <= Instant::now() => Err(self.late(end.exceeded)),
            _ => Ok(()),
        }
    }

    /// Returns the error of an operation that begins after the end of all time that the client has.
    fn late(&mut self, exceeded: DeadlineExceeded) -> io::Error {
        self.guard.note_late_client();
        exceeded.into_error()
    }

    /// Calls `read` within the deadline of the client's exchange, and returns the number of bytes.
    fn receive(
        &mut self,
        read: impl FnOnce(&mut dyn Stream, &mut ReadBuffer) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let received = self.receive_in_time(read)?;
        self.note_received(received);
        Ok(received)
    }

    /// Notes the result of a read: 0 is the end of file.
    fn note_received(&mut self, count: usize) {
        self.received_in_exchange += count as u64;
        if count == 0 && !self.guard.is_interrupted() {
            self.guard.note_client_left(self.received_in_exchange > 0);
        }
        if let Some(progress) = &mut self.preparation {
            progress.received += count as u64;
        }
    }

    fn receive_in_time(
        &mut self,
        read: impl FnOnce(&mut dyn Stream, &mut ReadBuffer) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(clock) = &mut self.clock else {
            let received = read(&mut *self.stream, &mut self.read_buffer);
            return received.map_err(|error| self.explain_read(error, Bounds::default()));
        };
        let begun = Instant::now();
        if let Some(end) = clock.end().filter(|end| end.until <= begun) {
            return Err(self.late(end.exceeded));
        }
        let bounds = clock.begin_read(begun);
        self.bound_stream(bounds)?;
        let received = read(&mut *self.stream, &mut self.read_buffer);
        if let Some(clock) = &mut self.clock {
            clock.end_read(*received.as_ref().unwrap_or(&0), begun.elapsed());
        }
        received.map_err(|error| self.explain_read(error, bounds))
    }

    /// Returns whether neither the request nor a layer's own stream has received a byte since a
    /// layer last asked for more.
    fn is_without_progress(&mut self) -> bool {
        let by_transport = self.guard.traffic().received();
        let progress = self.preparation.get_or_insert_default();
        let now = by_transport + progress.received;
        progress.at_last_wait.replace(now) == Some(now)
    }

    /// Returns the error of a failed read, for the handler.
    fn explain_read(&mut self, error: io::Error, bounds: Bounds) -> io::Error {
        if self.guard.is_interrupted() {
            return interrupted();
        }
        if ends_connection(&error) {
            self.guard.note_client_left(self.received_in_exchange > 0);
        }
        self.explain_timeout(error, "received", bounds, 0)
    }

    /// Returns the error of a failed write, for the handler. From now on all writes fail.
    fn explain_write(&mut self, error: io::Error, bounds: Bounds) -> io::Error {
        let error = if self.guard.is_aborted() {
            interrupted()
        } else {
            let sent = self.clock.as_ref().map_or(0, |clock| clock.sent());
            self.explain_timeout(error, "taken", bounds, sent)
        };
        self.write_buffer.fail(error.kind());
        error
    }

    fn explain_timeout(
        &mut self,
        error: io::Error,
        undone: &str,
        bounds: Bounds,
        sent: u64,
    ) -> io::Error {
        let network_has_given_up = error.raw_os_error() == Some(Errno::ETIMEDOUT as i32);
        let own_timeout = self.timeout();
        let is_own = |own: Duration| bounds.progress.is_none_or(|progress| own <= progress);
        let exceeded = match (error.kind(), own_timeout.filter(|own| is_own(*own)), bounds) {
            _ if network_has_given_up => return error,
            // A stream fails with `WouldBlock` at its timeout, with `TimedOut` at its deadline.
            (ErrorKind::WouldBlock, Some(timeout), _)
            | (ErrorKind::TimedOut, Some(timeout), Bounds { whole: None, .. }) => io::Error::new(
                ErrorKind::TimedOut,
                format!("nothing was {undone} within {timeout:?}"),
            ),
            (
                ErrorKind::WouldBlock,
                None,
                Bounds {
                    progress: Some(limit),
                    ..
                },
            )
            | (
                ErrorKind::TimedOut,
                None,
                Bounds {
                    whole: None,
                    progress: Some(limit),
                },
            ) => DeadlineExceeded::Progress(limit).into_error_after(sent),
            (
                ErrorKind::WouldBlock | ErrorKind::TimedOut,
                _,
                Bounds {
                    whole: Some(bound), ..
                },
            ) => bound.exceeded.into_error_after(sent),
            _ => return error,
        };
        self.guard.note_late_client();
        exceeded
    }
}

impl Request for StreamRequest {
    fn guard(&self) -> &RequestGuard {
        &self.guard
    }

    fn guard_mut(&mut self) -> &mut RequestGuard {
        &mut self.guard
    }

    fn into_guard(self) -> RequestGuard {
        // The guard is taken out first: a layer's stream may panic in its drop.
        let Self { stream, guard, .. } = self;
        drop(stream);
        guard
    }

    fn refuse(&mut self, message: &[u8]) {
        self.set_deadlines(Deadlines::uniform(Duration::ZERO));
        if !self.refuses_silently {
            // Fails if the client has left, or does not take the message at once.
            let _ = self.write_all(message).and_then(|()| self.flush());
        }
        // Unread bytes are read first: the close of a connection with unread bytes is a reset,
        // which destroys the message.
        let mut unread = [0; 4096];
        for _ in 0..16 {
            if !matches!(self.read(&mut unread), Ok(1..)) {
                break;
            }
        }
    }

    fn send_rest(&mut self, _: bool) -> io::Result<()> {
        self.deliver_outbox()?;
        self.flush()
    }

    fn end_conversation(&mut self) {
        // shutdown(2) before the close, because a process that the handler has started may hold the
        // connection open. Both fail if the client has left.
        let _ = self.flush();
        if self.end_stream(Shutdown::Write).is_ok() {
            self.guard.allow_lingering();
        }
    }

    fn exchanges(&mut self, exchange: &mut dyn FnMut(&mut Self) -> HandlerResult) -> HandlerResult {
        while !self.closes && self.wait()? {
            exchange(self)?;
        }
        Ok(())
    }

    fn as_parking(&mut self) -> Option<&mut dyn Parking> {
        Some(self)
    }

    fn begin_preparation(&mut self) {
        self.preparation = Some(Progress::default());
        if let Some(clock) = &mut self.clock {
            clock.begin_preparation();
            if clock.deadlines().prepare().is_some() {
                // For a layer that reads from the stream itself.
                let bound = clock.begin_read(Instant::now()).whole;
                let _ = self.stream.set_deadline(bound.map(|bound| bound.until));
            }
        }
    }

    fn wait_for_more(&mut self) -> io::Result<bool> {
        match self.begin_wait_for_more()? {
            WaitForMore::Arrived => Ok(true),
            WaitForMore::Draining => Ok(false),
            WaitForMore::Park(until) => {
                let waited = self.stream.wait_readable(until);
                self.end_wait_for_more_with(waited)
            }
        }
    }

    fn end_preparation(&mut self) {
        self.preparation = None;
        if let Some(clock) = &mut self.clock {
            clock.end_preparation();
            if !self.read_buffer.is_empty() {
                clock.begin_exchange();
            }
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
        } else {
            self.ensure_in_time()?;
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
        self.ensure_in_time()?;
        if let Some(clock) = &mut self.clock {
            clock.note_answer();
        }
        self.gather(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_buffer.ensure_writable()?;
        self.send_gathered()
    }
}

/// Returns the error of a read that the server ended. With an end of file instead, the handler
/// could take an incomplete message for a complete one.
fn interrupted() -> io::Error {
    io::Error::new(
        ErrorKind::ConnectionAborted,
        "aborted, because the server is stopping",
    )
}

/// The result of [`receive_now`](StreamRequest::receive_now).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received {
    /// The number of received bytes, at least one, which are now at the end of
    /// [`buffer`](StreamRequest::buffer).
    Bytes(usize),
    /// No byte has arrived since the last read.
    Nothing,
    /// The client has ended its side, and no byte will come.
    End,
}

/// How far the layers have come with the preparation of a request.
#[derive(Debug, Default)]
struct Progress {
    /// The bytes that the request itself has received.
    received: u64,
    /// The number of all bytes that had been received when a layer last asked for more.
    at_last_wait: Option<u64>,
}
