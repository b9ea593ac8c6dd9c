//! The conversation: each request of a connection, and its response.

use std::fmt;
use std::io::{self, BufRead};

use ::http::request::Parts;
use ::http::{Method, Request, Response, StatusCode, Version};
use bytes::Bytes;
use socketserver::{
    Deadlines, ExchangeHandler, HandlerError, HandlerResult, StreamRequest, blocking,
};

use super::body_error::{TIMEOUT, refusal_of};
use super::handler::HttpHandler;
use super::head::{self, BodyLength, Head};
use super::limits::HttpLimits;
use super::log_entry::LogEntry;
use super::refusal::Refusal;
use super::request_body::RequestBody;
use super::response::{self, Asked};
use super::response_body::{ResponseBody, Upgrade};
use super::transfer::Transfer;

/// The smallest read buffer: that of every connection.
const SMALLEST_BUFFER: usize = 8192;

const FAILED: &str = "The server has failed to make a response.";

/// HTTP/1.1 on a connection: reads each request, lets an [`HttpHandler`] make the response, and
/// sends the response.
///
/// `Http` is an [`ExchangeHandler`], whose message is the head of a request. So it serves under
/// every mix-in, over TCP, Unix sockets and TLS, and over a mock. Under
/// [`ReactorMixIn`](socketserver::ReactorMixIn), a connection holds no thread between two requests,
/// and no thread until the head of its next request has arrived completely.
///
/// * Connections are kept alive, requests may be pipelined, and clients may use HTTP/1.0.
/// * A request that is too large or too slow for the [limits](Self::limits) is refused with its
///   status: 408, 413, 414 or 431. The connection is closed.
/// * A request that two readers could understand in two ways is refused with 400. Such requests
///   have two lengths, a length beside chunks, a line feed without a carriage return, a space
///   before a colon, a folded header, a target of a form that the method does not have, or no
///   header `Host` or two.
/// * If a handler fails or panics, the client receives the status 500, unless a part of the
///   response has already been sent.
///
/// The deadlines of the server apply where they are shorter than the limits. Python's counterpart
/// is what `BaseHTTPRequestHandler` inherits: `handle`, `handle_one_request` and `parse_request`.
#[doc(alias = "handle_one_request")]
#[doc(alias = "parse_request")]
#[doc(alias = "protocol_version")]
pub struct Http<H> {
    handler: H,
    limits: HttpLimits,
    /// The server's own deadlines.
    deadlines: Deadlines,
    phase: Phase,
}

/// The state of the conversation.
enum Phase {
    /// Before the first byte of a request, or within its head.
    Waiting,
    /// A handler has the request, and nothing of the response is written.
    Responding(Asked),
    /// The last response is written, or has begun.
    Ended,
    /// Another handler has the connection.
    Upgraded(Box<dyn ExchangeHandler>),
}

impl<H: HttpHandler> Http<H> {
    /// Serves `handler`, with the default limits.
    #[must_use]
    pub fn new(handler: H) -> Self {
        Self {
            handler,
            limits: HttpLimits::default(),
            deadlines: Deadlines::none(),
            phase: Phase::Waiting,
        }
    }

    /// Sets the limits of each request.
    #[must_use]
    pub fn limits(self, limits: HttpLimits) -> Self {
        Self { limits, ..self }
    }

    /// Reads the head of the next request.
    fn read_head(&self, connection: &mut StreamRequest) -> Result<Bytes, HeadFailure> {
        let buffer = connection.buffer();
        // The check comes first, so that the refusal does not depend on how much has arrived
        // already.
        if head::begins_wrong(buffer) {
            return Err(NO_METHOD.into());
        }
        if let Some(end) = head::end(buffer) {
            if end > self.limits.head() {
                let begin = &buffer[..self.limits.head()];
                return Err(head::too_large(begin, &self.limits).into());
            }
            let bytes = Bytes::copy_from_slice(&buffer[..end]);
            connection.consume(end);
            return Ok(bytes);
        }
        self.collect_head(connection)
    }

    /// Reads a head that arrives in pieces.
    fn collect_head(&self, connection: &mut StreamRequest) -> Result<Bytes, HeadFailure> {
        let mut collected = Vec::new();
        loop {
            let available = connection.fill_buf()?;
            if available.is_empty() {
                return Err(Refusal::bad("The head of the request is incomplete.").into());
            }
            let before = collected.len();
            let room = self.limits.head().saturating_sub(before);
            let count = available.len().min(room);
            collected.extend_from_slice(&available[..count]);
            if head::begins_wrong(&collected) {
                return Err(NO_METHOD.into());
            }
            if let Some(end) = head::end(&collected) {
                connection.consume(end - before);
                collected.truncate(end);
                return Ok(collected.into());
            }
            connection.consume(count);
            if collected.len() >= self.limits.head() {
                return Err(head::too_large(&collected, &self.limits).into());
            }
        }
    }

    /// Serves the request with this head.
    fn serve(&mut self, connection: &mut StreamRequest, head: Head, line: &[u8]) -> HandlerResult {
        let mut transfer = Transfer::new(head.length, head.expects_continue, &self.limits);
        let asked = asked_by(&head.parts, head.keeps_alive);
        if let (BodyLength::Known(length), Some(max)) = (head.length, self.limits.body())
            && length > max
        {
            const TOO_LARGE: Refusal = Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The body of the request is too large.",
            );
            return self.refuse(connection, asked, TOO_LARGE, line);
        }
        let is_to_come = match head.length {
            BodyLength::Known(length) => length > connection.buffer().len() as u64,
            BodyLength::Chunked => true,
        };
        if is_to_come {
            connection.set_deadlines(self.limits.within_body(self.deadlines));
        }
        self.phase = Phase::Responding(asked);
        let body = RequestBody::new(connection, &mut transfer);
        let mut request = Request::from_parts(head.parts, body);
        let made = self.handler.respond(&mut request);
        drop(request);
        let response = match made {
            Ok(response) => response,
            Err(error) => return self.explain(connection, asked, error, line),
        };
        // After an upgrade, the other handler would read the rest of a body as its own bytes.
        if response.body().is_upgrade() && !transfer.discard(connection) {
            let refusal = Refusal::bad("A request with a body of this size cannot be an upgrade.");
            return self.refuse(connection, asked, refusal, line);
        }
        let keeps_alive = asked.keeps_alive && transfer.may_be_discarded();
        let asked = Asked {
            keeps_alive,
            ..asked
        };
        self.send(connection, asked, response, line)?;
        if matches!(self.phase, Phase::Waiting) && !transfer.discard(connection) {
            self.close(connection);
        }
        if is_to_come && matches!(self.phase, Phase::Waiting) {
            connection.set_deadlines(self.limits.between_bodies(self.deadlines));
        }
        Ok(())
    }

    /// Sends a response, and takes the conversation to its next phase.
    fn send(
        &mut self,
        connection: &mut StreamRequest,
        asked: Asked,
        response: Response<ResponseBody>,
        line: &[u8],
    ) -> HandlerResult {
        let status = response.status();
        let mut begun = match response::begin(connection, asked, response) {
            Ok(begun) => begun,
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return self.explain(connection, asked, error.into(), line);
            }
            Err(error) => return Err(error.into()),
        };
        self.phase = Phase::Ended;
        if let Some(upgrade) = begun.take_upgrade() {
            self.log(connection, line, status, 0);
            return self.hand_on(connection, upgrade);
        }
        let keeps_alive = begun.keeps_alive;
        let sent = begun.send_body(connection);
        self.log(connection, line, status, *sent.as_ref().unwrap_or(&0));
        if keeps_alive && sent.is_ok() {
            self.phase = Phase::Waiting;
        } else {
            self.close(connection);
        }
        sent?;
        Ok(())
    }

    /// Hands the connection on after an upgrade.
    fn hand_on(&mut self, connection: &mut StreamRequest, upgrade: Upgrade) -> HandlerResult {
        let mut handler = upgrade.handler;
        connection.set_deadlines(self.deadlines);
        handler.setup(connection)?;
        self.phase = Phase::Upgraded(handler);
        match &mut self.phase {
            // The client may wait for the first byte.
            Phase::Upgraded(handler) if upgrade.is_one_call => {
                connection.close_connection();
                blocking(|| handler.exchange(connection))
            }
            _ => Ok(()),
        }
    }

    /// Sends the response to a request whose handler has failed.
    fn explain(
        &mut self,
        connection: &mut StreamRequest,
        asked: Asked,
        error: HandlerError,
        line: &[u8],
    ) -> HandlerResult {
        if let Some(refusal) = refusal_of(&*error) {
            return self.refuse(connection, asked, refusal, line);
        }
        let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, FAILED);
        // The first error is the one that matters.
        let _ = self.refuse(connection, asked, refusal, line);
        Err(error)
    }

    /// Sends the response to a request that no handler sees, and ends the conversation.
    fn refuse(
        &mut self,
        connection: &mut StreamRequest,
        asked: Asked,
        refusal: Refusal,
        line: &[u8],
    ) -> HandlerResult {
        self.close(connection);
        let page = self.handler.error_page(refusal.status, refusal.reason);
        let status = page.status();
        let asked = Asked {
            keeps_alive: false,
            is_connect: false,
            ..asked
        };
        let sent =
            response::begin(connection, asked, page).and_then(|begun| begun.send_body(connection));
        self.log(connection, line, status, *sent.as_ref().unwrap_or(&0));
        sent?;
        Ok(())
    }

    fn close(&mut self, connection: &mut StreamRequest) {
        self.phase = Phase::Ended;
        connection.close_connection();
    }

    fn log(&mut self, connection: &StreamRequest, line: &[u8], status: StatusCode, bytes: u64) {
        let client = connection.client_address();
        self.handler.log_request(&LogEntry {
            client,
            line,
            status,
            bytes,
        });
    }
}

impl<H: HttpHandler> ExchangeHandler for Http<H> {
    fn setup(&mut self, connection: &mut StreamRequest) -> HandlerResult {
        self.deadlines = connection.deadlines();
        connection.set_deadlines(self.limits.between_bodies(self.deadlines));
        connection.set_rbufsize(self.limits.head().max(SMALLEST_BUFFER));
        Ok(())
    }

    fn is_complete(&self, unread: &[u8]) -> bool {
        match &self.phase {
            Phase::Upgraded(handler) => handler.is_complete(unread),
            _ => {
                unread.len() >= self.limits.head()
                    || head::begins_wrong(unread)
                    || head::end(unread).is_some()
            }
        }
    }

    fn exchange(&mut self, connection: &mut StreamRequest) -> HandlerResult {
        if let Phase::Upgraded(handler) = &mut self.phase {
            return handler.exchange(connection);
        }
        let bytes = match self.read_head(connection) {
            Ok(bytes) => bytes,
            Err(HeadFailure::Refused(refusal)) => {
                return self.refuse(connection, UNKNOWN, refusal, b"");
            }
            Err(HeadFailure::Broken(error)) => {
                let Some(refusal) = refusal_of(&error) else {
                    return Err(error.into());
                };
                let refused = self.refuse(connection, UNKNOWN, refusal, b"");
                return refused.and(Err(error.into()));
            }
        };
        let line = head::request_line(&bytes);
        match head::parse(&bytes, line, &self.limits) {
            Ok(head) => self.serve(connection, head, line),
            Err(refusal) => {
                let is_head = line.starts_with(b"HEAD ");
                self.refuse(connection, Asked { is_head, ..UNKNOWN }, refusal, line)
            }
        }
    }

    fn finish(&mut self, connection: &mut StreamRequest) -> HandlerResult {
        match &mut self.phase {
            Phase::Upgraded(handler) => handler.finish(connection),
            // A reactor has ended the wait for the rest of a head.
            Phase::Waiting if !connection.buffer().is_empty() => {
                self.refuse(connection, UNKNOWN, TIMEOUT, b"")
            }
            // The handler has panicked.
            Phase::Responding(asked) => {
                let asked = *asked;
                let refusal = Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, FAILED);
                self.refuse(connection, asked, refusal, b"")
            }
            Phase::Waiting | Phase::Ended => Ok(()),
        }
    }
}

impl<H: fmt::Debug> fmt::Debug for Http<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("handler", &self.handler)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

const NO_METHOD: Refusal = Refusal::bad("The request does not begin with a method.");

/// Why there is no head.
enum HeadFailure {
    Refused(Refusal),
    Broken(io::Error),
}

impl From<Refusal> for HeadFailure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for HeadFailure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// What is known of a request whose head is not valid.
const UNKNOWN: Asked = Asked {
    is_head: false,
    is_connect: false,
    is_10: false,
    keeps_alive: false,
};

fn asked_by(parts: &Parts, keeps_alive: bool) -> Asked {
    Asked {
        is_head: parts.method == Method::HEAD,
        is_connect: parts.method == Method::CONNECT,
        is_10: parts.version == Version::HTTP_10,
        keeps_alive,
    }
}
