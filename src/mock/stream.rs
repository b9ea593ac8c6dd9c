//! A connection whose client is a script.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base_server::BaseServer;
use crate::mock::text::Text;
use crate::mock::{mock_server, run_layers, set_server_address};
use crate::request_handler::{RequestHandler, run_handler};
use crate::requests::stream_request::StreamRequest;
use crate::running::layer_handle::LayerHandle;
use crate::running::server_handle::ServerHandle;
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::transport::connection::Connection;
use crate::transport::stream::Stream;
use crate::values::address::Address;
use crate::values::error::HandlerResult;

/// A client as a script: the bytes that it sends, their pieces, and its failures.
///
/// The steps happen in the order in which they are added. After the last step the client has closed
/// its side: reads return the end of file. The client receives all written bytes, unless
/// [`write_limit`](Self::write_limit) or [`write_error_after`](Self::write_error_after) is set.
#[derive(Debug, Clone)]
#[must_use]
pub struct MockStream {
    steps: VecDeque<Step>,
    write_limit: usize,
    write_error: Option<(usize, ErrorKind)>,
    client_address: Address,
    local_address: Option<Address>,
}

impl MockStream {
    /// Makes a client that connects, and closes its side without sending a byte.
    pub fn new() -> Self {
        Self {
            steps: VecDeque::new(),
            write_limit: usize::MAX,
            write_error: None,
            client_address: Address::from(([127, 0, 0, 1], 49152)),
            local_address: None,
        }
    }

    /// Adds a step: these bytes arrive, together. If a chunk is longer than a read asks for, the
    /// next read returns the rest; one read never returns bytes of two chunks. An empty chunk has
    /// no effect.
    pub fn chunk(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push_back(Step::Chunk(bytes.as_ref().to_owned()));
        self
    }

    /// Adds a step: a read fails with an error of this kind.
    pub fn read_error(mut self, kind: ErrorKind) -> Self {
        self.steps.push_back(Step::Fail(kind));
        self
    }

    /// Adds a step: the client is silent for longer than the timeout or the deadline, and a read
    /// fails with [`ErrorKind::TimedOut`], whether or not the handler has set one of the two.
    pub fn timeout(self) -> Self {
        self.read_error(ErrorKind::TimedOut)
    }

    /// Adds a step: the server begins to drain. A [`wait`](StreamRequest::wait) that reaches this
    /// step returns false; a read goes on with the next step.
    pub fn drain(mut self) -> Self {
        self.steps.push_back(Step::Drain);
        self
    }

    /// Bounds the bytes of each write, as when the client reads slowly. 0 makes every write fail
    /// with [`ErrorKind::WriteZero`].
    pub fn write_limit(mut self, bytes: usize) -> Self {
        self.write_limit = bytes;
        self
    }

    /// Makes every write after so many bytes fail with an error of this kind.
    /// [`Interrupted`](ErrorKind::Interrupted) makes one write fail.
    pub fn write_error_after(mut self, bytes: usize, kind: ErrorKind) -> Self {
        self.write_error = Some((bytes, kind));
        self
    }

    /// Sets the client's address; `127.0.0.1:49152` unless set.
    pub fn client_address(mut self, address: impl Into<Address>) -> Self {
        self.client_address = address.into();
        self
    }

    /// Sets the [address to which the client has connected](StreamRequest::local_address); unknown
    /// unless set.
    pub fn local_address(mut self, address: impl Into<Address>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Runs a handler as a server does, from its `setup` to the closed connection. A panic of the
    /// handler is caught, and becomes the [result](StreamRecording::result).
    pub fn run(self, mut handler: impl RequestHandler<StreamRequest>) -> StreamRecording {
        let (mut request, mut recording) = self.into_request();
        recording.result = run_handler(&mut handler, &mut request);
        // As `shutdown_request` does.
        let _ = request.shutdown(Shutdown::Write);
        recording
    }

    /// Runs layers as a server does, from [`verify_request`](BaseServer::verify_request) to
    /// [`close_request`](BaseServer::close_request), and makes the handler with their factory. This
    /// method is for the test of a layer. The layer is in the stack that a server has, over a
    /// bottom layer whose address is not used.
    ///
    /// [`process_request`](BaseServer::process_request) is left out: all steps run in this thread,
    /// whatever the mix-in. The [result](StreamRecording::result) is the error of the handler or a
    /// hook that [`handle_error`](BaseServer::handle_error) has received. A refused request has no
    /// error. The [statistics](ServerHandle::statistics) of the [server](StreamRecording::server)
    /// count the request by its end.
    ///
    /// ```
    /// use socketserver::layer::RequestOf;
    /// use socketserver::mock::MockStream;
    /// use socketserver::{BaseServer, MixIn, Request, Serve, TcpServer, handler_fn};
    ///
    /// /// Serves the clients of this machine only.
    /// struct ThisMachine<S>(S);
    ///
    /// impl<S: BaseServer> MixIn for ThisMachine<S> {
    ///     type Next = S;
    ///     fn next(&self) -> &S {
    ///         &self.0
    ///     }
    ///     fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
    ///         let ip = request.client_address().ip();
    ///         ip.is_some_and(|ip| ip.is_loopback()) && self.0.verify_request(request)
    ///     }
    /// }
    ///
    /// let layers = TcpServer::new("127.0.0.1:0", handler_fn(|_| Ok(()))).mix_in(ThisMachine);
    /// let stranger = MockStream::new().client_address(([192, 0, 2, 1], 49152));
    /// let recording = stranger.run_layers(layers);
    /// assert_eq!(recording.server().statistics().refused, 1);
    /// ```
    pub fn run_layers(self, layers: impl BaseServer<Request = StreamRequest>) -> StreamRecording {
        set_server_address(layers.layer_handle());
        let (request, mut recording) = self.request_of(layers.layer_handle());
        recording.result = run_layers(layers, request);
        recording
    }

    /// Returns the request and its recording, for a test of a function that takes a request.
    ///
    /// The recording has written bytes once they are sent, which happens in `flush`, or before a
    /// read that would wait for the client.
    #[must_use]
    pub fn into_request(self) -> (StreamRequest, StreamRecording) {
        self.request_of(&mock_server())
    }

    fn request_of(self, server: &LayerHandle) -> (StreamRequest, StreamRecording) {
        let connection = Connection::new(None);
        let events = Arc::default();
        let stream = Script {
            steps: self.steps,
            has_arrived: false,
            write_limit: self.write_limit,
            write_error: self.write_error,
            written: 0,
            events: Arc::clone(&events),
            server: server.server().clone(),
            connection: connection.clone(),
            local_address: self.local_address,
            timeout: None,
            deadline: None,
        };
        let guard = server.register_connection(self.client_address, connection);
        let request = StreamRequest::new(Box::new(stream), guard);
        (
            request,
            StreamRecording {
                events,
                server: server.server().clone(),
                result: Ok(()),
            },
        )
    }
}

impl Default for MockStream {
    fn default() -> Self {
        Self::new()
    }
}

/// One operation on the connection, as the operating system would see it.
///
/// `Debug` shows bytes as text with escapes: `Written("hello\n")`. The mocks have no counterpart
/// in Python.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A read returned so many bytes; 0 at the end of file.
    Read(usize),
    /// A read failed.
    ReadFailed(ErrorKind),
    /// One write sent these bytes.
    Written(Vec<u8>),
    /// A write failed.
    WriteFailed(ErrorKind),
    /// The stream was flushed.
    Flushed,
    /// The handler, or its [progress deadline](crate::Deadlines::progress), set this timeout or
    /// removed it (`None`).
    TimeoutSet(Option<Duration>),
    /// Nagle's algorithm was turned off (true) or on (false).
    NodelaySet(bool),
    /// One direction was ended, or both.
    ShutDown(Shutdown),
    /// The request was dropped, and the connection closed with it.
    Closed,
}

impl fmt::Debug for StreamEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value): (_, &dyn fmt::Debug) = match self {
            Self::Read(count) => ("Read", count),
            Self::ReadFailed(kind) => ("ReadFailed", kind),
            Self::Written(bytes) => ("Written", &Text(bytes)),
            Self::WriteFailed(kind) => ("WriteFailed", kind),
            Self::Flushed => return f.write_str("Flushed"),
            Self::TimeoutSet(timeout) => ("TimeoutSet", timeout),
            Self::NodelaySet(nodelay) => ("NodelaySet", nodelay),
            Self::ShutDown(how) => ("ShutDown", how),
            Self::Closed => return f.write_str("Closed"),
        };
        f.debug_tuple(name).field(value).finish()
    }
}

/// The operations on a [`MockStream`], and the result of the handler.
#[derive(Debug)]
pub struct StreamRecording {
    events: Arc<Mutex<Vec<StreamEvent>>>,
    server: ServerHandle,
    result: HandlerResult,
}

impl StreamRecording {
    /// Returns the result of the handler. In a server, `handle_error` would receive the error.
    pub fn result(&self) -> &HandlerResult {
        &self.result
    }

    /// Returns all operations in their order, for example to check that a prompt was sent before
    /// the read that waits for its answer.
    #[must_use]
    pub fn events(&self) -> Vec<StreamEvent> {
        lock(&self.events).clone()
    }

    /// Returns the bytes that the client received, a piece for each write.
    #[must_use]
    pub fn writes(&self) -> Vec<Vec<u8>> {
        let written = |event| match event {
            StreamEvent::Written(bytes) => Some(bytes),
            _ => None,
        };
        self.events().into_iter().filter_map(written).collect()
    }

    /// Returns all bytes that the client received.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.writes().concat()
    }

    /// Returns whether a flush followed the last write; true if nothing was written.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        let events = self.events();
        let last = events
            .iter()
            .rposition(|event| matches!(event, StreamEvent::Written(_)));
        last.is_none_or(|last| events[last..].contains(&StreamEvent::Flushed))
    }

    /// Returns whether the writing side was shut down, which the client reads as the end of file.
    #[must_use]
    pub fn is_shut_down(&self) -> bool {
        let shut = |event: &StreamEvent| {
            matches!(
                event,
                StreamEvent::ShutDown(Shutdown::Write | Shutdown::Both)
            )
        };
        self.events().iter().any(shut)
    }

    /// Returns whether the connection was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.events().contains(&StreamEvent::Closed)
    }

    /// Returns the handler's server, for example to check that it
    /// [is draining](ServerHandle::is_draining) after the handler has called
    /// [`shutdown`](ServerHandle::shutdown).
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }
}

#[derive(Clone)]
enum Step {
    Chunk(Vec<u8>),
    Fail(ErrorKind),
    Drain,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chunk(bytes) => f.debug_tuple("Chunk").field(&Text(bytes)).finish(),
            Self::Fail(kind) => f.debug_tuple("Fail").field(kind).finish(),
            Self::Drain => f.write_str("Drain"),
        }
    }
}

/// The transport that plays the script.
#[derive(Debug)]
struct Script {
    steps: VecDeque<Step>,
    /// Whether the chunk in front has arrived: a wait has reached it, or a read has taken a part of
    /// it.
    has_arrived: bool,
    write_limit: usize,
    write_error: Option<(usize, ErrorKind)>,
    written: usize,
    events: Arc<Mutex<Vec<StreamEvent>>>,
    server: ServerHandle,
    connection: Arc<Connection>,
    local_address: Option<Address>,
    timeout: Option<Duration>,
    deadline: Option<Instant>,
}

impl Script {
    fn record(&self, event: StreamEvent) {
        lock(&self.events).push(event);
    }

    fn play(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.steps.front_mut() {
                None => return Ok(0),
                Some(Step::Chunk(bytes)) if !bytes.is_empty() => {
                    let count = bytes.as_slice().read(buffer)?;
                    bytes.drain(..count);
                    self.has_arrived = !bytes.is_empty();
                    return Ok(count);
                }
                Some(Step::Chunk(_)) => {
                    self.steps.pop_front();
                }
                Some(Step::Fail(kind)) => {
                    let kind = *kind;
                    self.steps.pop_front();
                    self.has_arrived = false;
                    return Err(kind.into());
                }
                Some(Step::Drain) => {
                    self.steps.pop_front();
                    self.server.request_shutdown();
                    if self.connection.activity().is_interrupted() {
                        return Ok(0);
                    }
                }
            }
        }
    }

    /// Makes the error of a stream that times out. Its kind shows which of the two bounds was over
    /// first.
    fn expired(&self, error: io::Error) -> io::Error {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match (error.kind(), self.timeout) {
            (ErrorKind::TimedOut, Some(timeout)) if left.is_none_or(|left| timeout < left) => {
                ErrorKind::WouldBlock.into()
            }
            _ => error,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until_error = match self.write_error {
            Some((after, kind)) if self.written >= after => {
                if kind == ErrorKind::Interrupted {
                    self.write_error = None;
                }
                return Err(kind.into());
            }
            Some((after, _)) => after - self.written,
            None => usize::MAX,
        };
        let count = bytes.len().min(self.write_limit).min(until_error);
        self.written += count;
        Ok(count)
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.play(buffer);
        self.record(match &result {
            Ok(count) => StreamEvent::Read(*count),
            Err(error) => StreamEvent::ReadFailed(error.kind()),
        });
        result.map_err(|error| self.expired(error))
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.take(bytes);
        self.record(match &result {
            Ok(count) => StreamEvent::Written(bytes[..*count].to_owned()),
            Err(error) => StreamEvent::WriteFailed(error.kind()),
        });
        result.map_err(|error| self.expired(error))
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let parts = Vec::from_iter(parts.iter().map(|part| &part[..]));
        self.write(&parts.concat())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.record(StreamEvent::Flushed);
        Ok(())
    }
}

impl Stream for Script {
    fn readable_now(&mut self) -> io::Result<bool> {
        Ok(self.has_arrived)
    }

    fn wait_readable(&mut self, _: Option<Instant>) -> io::Result<bool> {
        loop {
            match self.steps.front() {
                Some(Step::Chunk(bytes)) if bytes.is_empty() => {
                    self.steps.pop_front();
                }
                Some(Step::Fail(ErrorKind::TimedOut)) => {
                    self.steps.pop_front();
                    return Ok(false);
                }
                Some(Step::Drain) => {
                    self.steps.pop_front();
                    self.server.request_shutdown();
                    if self.connection.activity().is_interrupted() {
                        return Ok(true);
                    }
                }
                _ => {
                    self.has_arrived = true;
                    return Ok(true);
                }
            }
        }
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.record(StreamEvent::ShutDown(how));
        Ok(())
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.record(StreamEvent::TimeoutSet(timeout));
        self.timeout = timeout;
        Ok(())
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        // The deadline is kept for the steps of the script that time out: they find out which bound
        // is over.
        self.deadline = deadline;
        Ok(())
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        self.record(StreamEvent::NodelaySet(nodelay));
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn local_address(&self) -> Option<Address> {
        self.local_address.clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.record(StreamEvent::Closed);
    }
}
