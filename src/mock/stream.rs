//! A connection whose client is a script.

use crate::support::sync::Mutex;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::mock::mock_server;
use crate::request_handler::{RequestHandler, run_handler};
use crate::requests::stream_request::StreamRequest;
use crate::running::server_handle::ServerHandle;
use crate::support::lock::lock;
use crate::transport::connection::Connection;
use crate::transport::stream::Stream;
use crate::values::address::Address;
use crate::values::error::HandlerResult;

/// A client as a script: what it sends, in which pieces, and how it fails.
///
/// The steps happen in the order in which they are written. After the last one the client has
/// closed: reads return the end of file. The client takes all that is written, unless a method
/// bounds that.
#[derive(Debug, Clone)]
#[must_use]
pub struct MockStream {
    steps: VecDeque<Step>,
    write_limit: usize,
    write_error: Option<(usize, ErrorKind)>,
    client_address: Address,
}

#[derive(Debug, Clone)]
enum Step {
    Chunk(Vec<u8>),
    Fail(ErrorKind),
    Drain,
}

impl MockStream {
    /// A client that connects, and closes its side without sending anything.
    pub fn new() -> Self {
        Self {
            steps: VecDeque::new(),
            write_limit: usize::MAX,
            write_error: None,
            client_address: Address::from(([127, 0, 0, 1], 49152)),
        }
    }

    /// Then these bytes arrive, together. Of a chunk longer than a read asks for, the rest is left
    /// for the next read; two chunks never come out of one read. An empty chunk is none.
    pub fn chunk(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps.push_back(Step::Chunk(bytes.as_ref().to_owned()));
        self
    }

    /// Then a read fails like this.
    pub fn read_error(mut self, kind: ErrorKind) -> Self {
        self.steps.push_back(Step::Fail(kind));
        self
    }

    /// Then the client is silent for longer than the timeout, or the deadline, whether or not the
    /// handler has set one: the read fails with [`ErrorKind::TimedOut`].
    pub fn timeout(self) -> Self {
        self.read_error(ErrorKind::TimedOut)
    }

    /// Then the server begins to drain: a [`wait`](StreamRequest::wait) that has come to this point
    /// is false, a read goes on with the next step.
    pub fn drain(mut self) -> Self {
        self.steps.push_back(Step::Drain);
        self
    }

    /// Every write takes at most so many bytes, as when the client reads slowly. 0 makes every
    /// write fail with [`ErrorKind::WriteZero`].
    pub fn write_limit(mut self, bytes: usize) -> Self {
        self.write_limit = bytes;
        self
    }

    /// After so many bytes were written, every write fails like this; one that is
    /// [`Interrupted`](ErrorKind::Interrupted) fails once.
    pub fn write_error_after(mut self, bytes: usize, kind: ErrorKind) -> Self {
        self.write_error = Some((bytes, kind));
        self
    }

    /// Who the client is; `127.0.0.1:49152` unless set.
    pub fn client_address(mut self, address: impl Into<Address>) -> Self {
        self.client_address = address.into();
        self
    }

    /// Runs a handler as a server does, from its `setup` to the closed connection. A panic is
    /// caught and is the [result](StreamRecording::result).
    pub fn run(self, mut handler: impl RequestHandler<StreamRequest>) -> StreamRecording {
        let (mut request, mut recording) = self.into_request();
        recording.result = run_handler(&mut handler, &mut request);
        // As `shutdown_request` does.
        let _ = request.shutdown(Shutdown::Write);
        recording
    }

    /// The request by itself, for a test that calls its methods, or a function that takes one.
    ///
    /// What it writes is in the recording when it has been sent: by a read that has to ask the
    /// client, or by `flush`.
    #[must_use]
    pub fn into_request(self) -> (StreamRequest, StreamRecording) {
        let server = mock_server();
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

/// One thing that happened to the connection, as the operating system would have seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A read gave so many bytes; 0 at the end of file.
    Read(usize),
    /// A read failed.
    ReadFailed(ErrorKind),
    /// These bytes left, in one system call.
    Written(Vec<u8>),
    /// A write failed.
    WriteFailed(ErrorKind),
    /// What had been written was flushed.
    Flushed,
    /// The handler has set a timeout, or taken it back.
    TimeoutSet(Option<Duration>),
    /// Nagle's algorithm was turned off (true) or on.
    NodelaySet(bool),
    /// One direction was ended, or both.
    ShutDown(Shutdown),
    /// The request was dropped, and the connection closed with it.
    Closed,
}

/// What happened to a [`MockStream`], and how the handler ended.
#[derive(Debug)]
pub struct StreamRecording {
    events: Arc<Mutex<Vec<StreamEvent>>>,
    server: ServerHandle,
    result: HandlerResult,
}

impl StreamRecording {
    /// How the handler ended: the error is what `handle_error` of a server would receive.
    pub fn result(&self) -> &HandlerResult {
        &self.result
    }

    /// Everything in its order, to see for example that a prompt left before the read that waits
    /// for its answer.
    #[must_use]
    pub fn events(&self) -> Vec<StreamEvent> {
        lock(&self.events).clone()
    }

    /// What the client received, in the pieces in which it was sent.
    #[must_use]
    pub fn writes(&self) -> Vec<Vec<u8>> {
        let written = |event| match event {
            StreamEvent::Written(bytes) => Some(bytes),
            _ => None,
        };
        self.events().into_iter().filter_map(written).collect()
    }

    /// All that the client received.
    #[must_use]
    pub fn written(&self) -> Vec<u8> {
        self.writes().concat()
    }

    /// Whether the last write was followed by a flush; true if nothing was written.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        let events = self.events();
        let last = events
            .iter()
            .rposition(|event| matches!(event, StreamEvent::Written(_)));
        last.is_none_or(|last| events[last..].contains(&StreamEvent::Flushed))
    }

    /// Whether the writing side was shut down, by which the client learns that nothing follows.
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

    /// Whether the connection was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.events().contains(&StreamEvent::Closed)
    }

    /// The server that the handler saw: whether it [is draining](ServerHandle::is_draining), as
    /// after a handler has called [`shutdown`](ServerHandle::shutdown).
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }
}

/// The transport that plays the script.
#[derive(Debug)]
struct Script {
    steps: VecDeque<Step>,
    /// The chunk in front has arrived: it was waited for, or read in part.
    has_arrived: bool,
    write_limit: usize,
    write_error: Option<(usize, ErrorKind)>,
    written: usize,
    events: Arc<Mutex<Vec<StreamEvent>>>,
    server: ServerHandle,
    connection: Arc<Connection>,
}

impl Script {
    fn happened(&self, event: StreamEvent) {
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
        self.happened(match &result {
            Ok(count) => StreamEvent::Read(*count),
            Err(error) => StreamEvent::ReadFailed(error.kind()),
        });
        result
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.take(bytes);
        self.happened(match &result {
            Ok(count) => StreamEvent::Written(bytes[..*count].to_owned()),
            Err(error) => StreamEvent::WriteFailed(error.kind()),
        });
        result
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let parts = Vec::from_iter(parts.iter().map(|part| &part[..]));
        self.write(&parts.concat())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.happened(StreamEvent::Flushed);
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
        self.happened(StreamEvent::ShutDown(how));
        Ok(())
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.happened(StreamEvent::TimeoutSet(timeout));
        Ok(())
    }

    fn set_deadline(&mut self, _: Option<Instant>) -> io::Result<()> {
        // Time passes only at a step of the script.
        Ok(())
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        self.happened(StreamEvent::NodelaySet(nodelay));
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.happened(StreamEvent::Closed);
    }
}
