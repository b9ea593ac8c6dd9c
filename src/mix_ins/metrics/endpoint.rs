//! The handler that answers `GET /metrics`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use crate::mix_ins::metrics::negotiation::format_for;
use crate::mix_ins::metrics::registry::{Metrics, MetricsFormat};
use crate::request_handler::{HandlerFactory, RequestHandler};
use crate::requests::stream_request::{MessageError, StreamRequest};
use crate::values::error::HandlerResult;

/// The greatest length of the lines of a request, in bytes, without their ends.
const MAX_HEAD: usize = 8192;

/// How long a client may keep the handler waiting, in each part of the conversation.
const DEADLINE: Duration = Duration::from_secs(5);

/// Answers one request of HTTP/1.0 or 1.1 with the text of [`Metrics`], and closes the connection.
///
/// The handler answers `GET /metrics` and `HEAD /metrics`. Other requests have these statuses:
///
/// * 404 for another path,
/// * 405 for another method,
/// * 400 for lines that are not a request,
/// * 431 for more than 8 KiB before the empty line.
///
/// The text is OpenMetrics, unless the header `Accept` prefers `text/plain`. Then the text is the
/// older format of Prometheus.
///
/// Each part of the conversation has a deadline of five seconds, or the connection's
/// [deadline](crate::Deadlines) if that is shorter. The handler knows neither users nor passwords.
/// The address that the server listens on decides who may read the metrics.
///
/// [`Metrics`] is the factory of these handlers. Python's counterpart is the handler in
/// `prometheus_client.start_http_server`.
///
/// ```
/// use socketserver::mock::MockStream;
/// use socketserver::{HandlerFactory, Metrics};
///
/// let handler = Metrics::new().make_handler();
/// let recording = MockStream::new().chunk("GET /metrics HTTP/1.0\r\n\r\n").run(handler);
/// let answer = String::from_utf8(recording.written())?;
/// assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
/// assert!(answer.ends_with("# EOF\n"));
/// # Ok::<(), std::string::FromUtf8Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a handler does nothing until a server or a mock runs it"]
pub struct MetricsHandler {
    metrics: Metrics,
}

impl MetricsHandler {
    fn answer(&self, head: &Head) -> Result<(MetricsFormat, String), Status> {
        if !matches!(&*head.method, b"GET" | b"HEAD") {
            return Err(Status::METHOD_NOT_ALLOWED);
        }
        if head.path() != b"/metrics" {
            return Err(Status::NOT_FOUND);
        }
        let format = format_for(&head.accept);
        match self.metrics.text(format) {
            Ok(text) => Ok((format, text)),
            Err(_) => Err(Status::FAILED),
        }
    }
}

impl HandlerFactory<StreamRequest> for Metrics {
    type Handler = MetricsHandler;

    fn make_handler(&self) -> MetricsHandler {
        let metrics = self.clone();
        MetricsHandler { metrics }
    }
}

impl RequestHandler for MetricsHandler {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        request.set_deadlines(request.deadlines().capped(DEADLINE));
        Ok(())
    }

    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let head = match Head::read(request) {
            Ok(None) => return Ok(()),
            Ok(Some(head)) => head,
            Err(error) => match Status::of(&error) {
                Some(status) => return Ok(status.send(request, true)?),
                None => return Err(error.into()),
            },
        };
        let with_body = head.method != b"HEAD";
        match self.answer(&head) {
            Ok((format, text)) => {
                send(
                    request,
                    "200 OK",
                    format.content_type(),
                    "",
                    &text,
                    with_body,
                )?;
            }
            Err(status) => status.send(request, with_body)?,
        }
        Ok(())
    }
}

/// The parts of a request that decide its answer.
struct Head {
    method: Vec<u8>,
    target: Vec<u8>,
    /// The values of the header `Accept`, joined with commas.
    accept: String,
}

impl Head {
    /// Reads up to the empty line. Returns `None` if the client has left before its first byte.
    fn read(request: &mut StreamRequest) -> io::Result<Option<Self>> {
        let Some(first) = request.next_until(b'\n', MAX_HEAD)? else {
            return Ok(None);
        };
        let mut left = MAX_HEAD - first.len();
        let mut head = Self::from_request_line(without_return(&first)).ok_or_else(no_request)?;
        loop {
            let line = request.further_until(b'\n', left)?;
            left -= line.len();
            match without_return(&line) {
                [] => return Ok(Some(head)),
                line => head.add_field(line).ok_or_else(no_request)?,
            }
        }
    }

    fn from_request_line(line: &[u8]) -> Option<Self> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (method, target) = (parts.next()?, parts.next()?);
        let version = parts.next()?.strip_prefix(b"HTTP/1.")?;
        let is_whole = parts.next().is_none()
            && !method.is_empty()
            && method.iter().all(u8::is_ascii_alphabetic)
            && !target.is_empty()
            && matches!(version, [b'0'..=b'9']);
        is_whole.then(|| Self {
            method: method.to_owned(),
            target: target.to_owned(),
            accept: String::new(),
        })
    }

    /// Takes a field of the header. Returns `None` if the line is not a field.
    fn add_field(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"accept") {
            if !self.accept.is_empty() {
                self.accept.push(',');
            }
            self.accept.push_str(&String::from_utf8_lossy(value));
        }
        Some(())
    }

    /// Returns the path of the target, without its query. The target may have a scheme and a host.
    fn path(&self) -> &[u8] {
        let target = self
            .target
            .strip_prefix(b"http://")
            .map_or(&*self.target, |rest| {
                let path = rest.iter().position(|byte| *byte == b'/');
                path.map_or(b"/", |path| &rest[path..])
            });
        let end = target.iter().position(|byte| *byte == b'?');
        &target[..end.unwrap_or(target.len())]
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn no_request() -> io::Error {
    io::Error::other(NoRequest)
}

#[derive(Debug, thiserror::Error)]
#[error("the client's lines are not a request of HTTP/1.0 or HTTP/1.1")]
struct NoRequest;

/// A status other than success, and the header fields that belong to it.
struct Status {
    line: &'static str,
    fields: &'static str,
}

impl Status {
    const BAD_REQUEST: Self = Self::new("400 Bad Request", "");
    const NOT_FOUND: Self = Self::new("404 Not Found", "");
    const METHOD_NOT_ALLOWED: Self = Self::new("405 Method Not Allowed", "Allow: GET, HEAD\r\n");
    const TOO_LARGE: Self = Self::new("431 Request Header Fields Too Large", "");
    const FAILED: Self = Self::new("500 Internal Server Error", "");

    const fn new(line: &'static str, fields: &'static str) -> Self {
        Self { line, fields }
    }

    /// Returns the status for an error that the client has caused and can receive.
    fn of(error: &io::Error) -> Option<Self> {
        match MessageError::find_in(error) {
            Some(MessageError::TooLong { .. }) => Some(Self::TOO_LARGE),
            Some(_) => None,
            None => {
                let is_no_request = error.get_ref().is_some_and(|it| it.is::<NoRequest>());
                is_no_request.then_some(Self::BAD_REQUEST)
            }
        }
    }

    fn send(&self, request: &mut StreamRequest, with_body: bool) -> io::Result<()> {
        let text = format!("{}; the metrics are at /metrics\n", self.line);
        let content = "text/plain; charset=utf-8";
        send(request, self.line, content, self.fields, &text, with_body)
    }
}

fn send(
    request: &mut StreamRequest,
    status: &str,
    content_type: &str,
    fields: &str,
    body: &str,
    with_body: bool,
) -> io::Result<()> {
    let length = body.len();
    let mut answer = String::with_capacity(256 + length);
    // A write to a String does not fail.
    let _ = write!(
        answer,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         {fields}Connection: close\r\n\r\n"
    );
    if with_body {
        answer.push_str(body);
    }
    request.write_all(answer.as_bytes())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn path(target: &str) -> String {
        let line = format!("GET {target} HTTP/1.1");
        let head = Head::from_request_line(line.as_bytes()).unwrap();
        String::from_utf8(head.path().to_owned()).unwrap()
    }

    #[test]
    fn the_path_of_a_target_is_without_its_host_and_its_query() {
        assert_eq!(path("/metrics"), "/metrics");
        assert_eq!(path("/metrics?name[]=up"), "/metrics");
        assert_eq!(path("http://127.0.0.1:9100/metrics"), "/metrics");
        assert_eq!(path("http://127.0.0.1:9100"), "/");
        assert_eq!(path("//metrics"), "//metrics");
    }

    #[test]
    fn a_line_is_a_request_with_a_method_a_target_and_a_version_alone() {
        for line in [
            "",
            "GET /metrics",
            "GET  /metrics HTTP/1.1",
            " /metrics HTTP/1.1",
            "GET /metrics HTTP/2.0",
            "GET /metrics HTTP/1.10",
            "GET /metrics HTTP/1.1 ",
            "G\0T /metrics HTTP/1.1",
            "\u{16}\u{3}\u{1}",
        ] {
            assert!(Head::from_request_line(line.as_bytes()).is_none(), "{line}");
        }
    }
}
