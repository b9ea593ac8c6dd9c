//! Requests of HTTP, beside `httparse`, hyper, and a model of a body that is read at once.

use std::io::Read;
use std::sync::{Arc, Mutex};

use arbitrary::{Arbitrary, Unstructured};
use socketserver::mock::{MockStream, StreamRecording};
use socketserver_handlers::http::{
    Http, HttpHandler, HttpLimits, HttpResult, LogEntry, Method, Request, RequestBody, Response,
    ResponseBody, StatusCode, Version, header,
};

use crate::cuts::Cuts;
use crate::hyper;
use crate::hyper::Found;

/// The limits are small, so that requests beyond them are not rare.
const HEAD: usize = 512;
const BODY: u64 = 256;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    stream: &'a [u8],
}

/// A request as its handler has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    method: String,
    target: String,
    version: Version,
    headers: Vec<(String, Vec<u8>)>,
    body: Result<Vec<u8>, String>,
}

/// Keeps each request, and answers with the number of bytes of the body.
struct Keep(Arc<Mutex<Vec<Seen>>>);

impl HttpHandler for Keep {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        let mut body = Vec::new();
        let read = request.body_mut().read_to_end(&mut body);
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_owned()));
        let length = body.len();
        let seen = Seen {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            version: request.version(),
            headers: headers.collect(),
            body: read.as_ref().map(|_| body).map_err(ToString::to_string),
        };
        self.0.lock().expect("no panic before").push(seen);
        read?;
        let mut response = undated(Response::new(length.to_string().into()));
        if request.method() == Method::CONNECT {
            // A success would be a tunnel.
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
        Ok(response)
    }

    fn error_page(&mut self, status: StatusCode, reason: &str) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::from(reason.to_owned()));
        *response.status_mut() = status;
        undated(response)
    }

    fn log_request(&mut self, entry: &LogEntry<'_>) {
        let line = entry.to_string();
        assert!(
            line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{line:?}"
        );
    }
}

/// A response whose date does not depend on the clock.
fn undated(mut response: Response<ResponseBody>) -> Response<ResponseBody> {
    let date = header::HeaderValue::from_static("now");
    response.headers_mut().insert(header::DATE, date);
    response
}

/// Checks that the requests, and the responses, depend on the bytes of the client alone and not on
/// how they are cut; that `httparse` and hyper find the same requests as far as ours are accepted;
/// and that an accepted request can be understood in one way only.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let (whole, seen) = run(MockStream::new().chunk(input.stream));
    let (cut, seen_in_pieces) = run(input.cuts.client(input.stream));
    assert_eq!(seen_in_pieces, seen);
    let text = |recording: &StreamRecording| recording.written().escape_ascii().to_string();
    assert_eq!(text(&cut), text(&whole));
    assert_eq!(cut.result().is_ok(), whole.result().is_ok());
    assert!(whole.result().is_ok(), "{:?}", whole.result());
    if !input.stream.is_empty() {
        let starts_well = whole.written().starts_with(b"HTTP/1.1 ");
        assert!(starts_well, "{}", text(&whole));
    }
    let mut rest = input.stream;
    for request in &seen {
        rest = request.is_in(rest);
    }
    are_found(&seen, &hyper::requests(input.stream));
}

/// Checks that hyper has found the requests, up to the first whose body could not be read, or
/// behind which hyper expects another protocol.
fn are_found(seen: &[Seen], found: &[Found]) {
    for (index, request) in seen.iter().enumerate() {
        let Ok(body) = &request.body else {
            return;
        };
        let Some(found) = found.get(index) else {
            panic!("hyper finds {index} requests, and not {request:?}");
        };
        assert_eq!(found.method, request.method);
        assert_eq!(found.target, request.target);
        assert_eq!(found.version, request.version);
        assert_eq!(found.body.as_ref(), Some(body), "{request:?}");
        // The host of a target replaces the header.
        let others = |headers: &[(String, Vec<u8>)]| {
            let others = headers.iter().filter(|(name, _)| name != "host");
            Vec::from_iter(others.cloned())
        };
        assert_eq!(others(&found.headers), others(&request.headers));
        if request.method == "CONNECT" || request.values("upgrade").next().is_some() {
            return;
        }
    }
}

fn run(client: MockStream) -> (StreamRecording, Vec<Seen>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let limits = HttpLimits::default()
        .with_head(HEAD)
        .with_body(BODY)
        .with_headers(8);
    let recording = client.run(Http::new(Keep(seen.clone())).limits(limits));
    let seen = seen.lock().expect("no panic before").clone();
    (recording, seen)
}

impl Seen {
    /// Checks that this request is the first in `stream`, and returns what follows.
    fn is_in<'a>(&self, stream: &'a [u8]) -> &'a [u8] {
        let mut stream = stream;
        while let Some(rest) = stream.strip_prefix(b"\r\n") {
            stream = rest;
        }
        let mut places = [httparse::EMPTY_HEADER; 8];
        let mut parsed = httparse::Request::new(&mut places);
        let length = match parsed.parse(stream) {
            Ok(httparse::Status::Complete(length)) => length,
            other => panic!("httparse finds no request: {other:?}"),
        };
        assert!(length <= HEAD, "{length}");
        assert_eq!(parsed.method, Some(&*self.method));
        assert_eq!(parsed.headers.len(), self.headers.len());
        for found in parsed.headers.iter() {
            let name = found.name.to_ascii_lowercase();
            // The host of a target replaces the header.
            let is_same = |(other, value): &(String, Vec<u8>)| {
                *other == name && (name == "host" || value == found.value)
            };
            assert!(self.headers.iter().any(is_same), "{name}");
        }
        let (head, rest) = stream.split_at(length);
        self.is_unambiguous(head);
        match &self.body {
            Ok(body) => self.body_is_in(rest, body),
            // Nothing is served behind a body that cannot be read.
            Err(_) => &[],
        }
    }

    /// Checks that no reader could find another end of a line, another host, or another length.
    fn is_unambiguous(&self, head: &[u8]) {
        let feeds = head.iter().filter(|byte| **byte == b'\n').count();
        let returns = head.iter().filter(|byte| **byte == b'\r').count();
        let pairs = head.windows(2).filter(|pair| pair == b"\r\n").count();
        assert!(feeds == pairs && returns == pairs && !head.contains(&0));
        let folded = head.windows(3).any(|it| it == b"\r\n " || it == b"\r\n\t");
        assert!(!folded);
        let hosts = self.values("host").count();
        assert!(hosts == 1 || hosts == 0 && self.version == Version::HTTP_10);
        let (lengths, codings) = (
            self.values("content-length"),
            self.values("transfer-encoding"),
        );
        assert!(lengths.count() + codings.count() <= 1);
        let is_asterisk = self.target == "*";
        assert!(!is_asterisk || self.method == "OPTIONS");
        let is_connect = self.method == "CONNECT";
        let is_path = self.target.starts_with('/');
        let has_scheme = self.target.starts_with("http");
        assert!(
            is_asterisk || is_connect != (is_path || has_scheme),
            "{}",
            self.target
        );
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let headers = self.headers.iter();
        let named = headers.filter(move |(other, _)| other == name);
        named.map(|(_, value)| value.as_slice())
    }

    /// Checks that `body` is what the head announces in `rest`, and returns what follows.
    fn body_is_in<'a>(&self, rest: &'a [u8], body: &[u8]) -> &'a [u8] {
        assert!(body.len() as u64 <= BODY);
        if self.values("transfer-encoding").next().is_some() {
            let (expected, rest) = unchunk(rest).expect("the chunks are valid");
            assert_eq!(body, expected);
            return rest;
        }
        let length = self.values("content-length").next();
        let length = length.map_or(0, |value| {
            let text = str::from_utf8(value).expect("a length is text");
            text.parse::<usize>().expect("a length is a number")
        });
        let (expected, rest) = rest.split_at(length);
        assert_eq!(body, expected);
        rest
    }
}

/// The content of chunks, and what follows them; `None` if they do not end.
fn unchunk(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (mut content, mut rest) = (Vec::new(), bytes);
    loop {
        let (line, more) = line(rest)?;
        let digits = line.split(|byte| b"; \t".contains(byte)).next()?;
        let length = usize::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
        rest = more;
        if length == 0 {
            break;
        }
        content.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let (line, more) = line(rest)?;
        rest = more;
        if line.is_empty() {
            return Some((content, rest));
        }
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
