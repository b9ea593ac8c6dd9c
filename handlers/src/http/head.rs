//! The head of a request: its request line and its headers, by RFC 9112.

use std::mem::MaybeUninit;

use ::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use ::http::request::Parts;
use ::http::{Method, Request, StatusCode, Version};
use bytes::Bytes;
use httparse::{Error, Status};
use memchr::{memchr, memchr_iter};

use super::limits::{HttpLimits, MAX_HEADERS};
use super::refusal::Refusal;
use super::target;

/// A head that is accepted.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: Parts,
    pub(super) length: BodyLength,
    /// Whether the client wants to send further requests.
    pub(super) keeps_alive: bool,
    /// Whether the client waits for permission to send its body.
    pub(super) expects_continue: bool,
}

/// How the end of a request's body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    Known(u64),
    Chunked,
}

/// The length of the head at the beginning of `bytes`, with the empty lines before its request
/// line. `None` if the head has not arrived completely.
///
/// A line feed without a carriage return ends a line here, so that such a head is refused at once.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    let mut line = leading_lines(bytes);
    while let Some(length) = memchr(b'\n', &bytes[line..]) {
        if matches!(&bytes[line..line + length], b"" | b"\r") {
            return Some(line + length + 1);
        }
        line += length + 1;
    }
    None
}

/// Whether these bytes cannot become a head, so that the server need not wait for more.
pub(super) fn begins_wrong(bytes: &[u8]) -> bool {
    match bytes[leading_lines(bytes)..] {
        [] | [b'\r'] => false,
        [first, ..] => !is_token(first),
    }
}

/// The request line of a head, without its end. Empty if the line has not arrived completely.
pub(super) fn request_line(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[leading_lines(bytes)..];
    let end = memchr(b'\n', bytes).unwrap_or(0);
    let line = &bytes[..end];
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Parses a whole head.
///
/// # Errors
///
/// The refusal of a head that is not valid, is larger than the limits allow, or could be understood
/// in two ways.
///
/// `line` is the [`request_line`] of the head.
pub(super) fn parse(bytes: &Bytes, line: &[u8], limits: &HttpLimits) -> Result<Head, Refusal> {
    check_line_ends(bytes)?;
    check_target_length(line, limits)?;
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    let places = &mut headers[..limits.headers()];
    match parsed.parse_with_uninit_headers(bytes, places) {
        Ok(Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Refusal::bad("The head of the request does not end.")),
        Err(error) => return Err(explain(error, bytes)),
    }
    let mut request = Request::new(());
    *request.method_mut() = parsed
        .method
        .and_then(|method| Method::from_bytes(method.as_bytes()).ok())
        .ok_or(Refusal::bad("The method of the request is not a token."))?;
    *request.version_mut() = match parsed.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let path = parsed.path.unwrap_or_default();
    *request.uri_mut() = target::parse(request.method(), bytes.slice_ref(path.as_bytes()))?;
    let all = request.headers_mut();
    all.reserve(parsed.headers.len());
    let mut has = Has::default();
    for header in parsed.headers.iter() {
        let (name, value) = header_of(header, bytes)?;
        has.note(&name, &value)?;
        all.append(name, value);
    }
    let (parts, ()) = request.into_parts();
    Head::new(parts, has)
}

/// Which of the headers that the conversation depends on are in the request. Most requests have one
/// of them, and a search for each costs more than everything else that is done with the headers.
#[derive(Debug, Clone, Copy, Default)]
struct Has {
    host: bool,
    connection: bool,
    expect: bool,
    /// `Content-Length` or `Transfer-Encoding`.
    length: bool,
}

impl Has {
    /// Notes a header. A second `Host`, or one that is not valid, is refused.
    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Refusal> {
        if *name == HOST {
            if std::mem::replace(&mut self.host, true) {
                return Err(Refusal::bad("The request has more than one header Host."));
            }
            return target::parse_host(value.as_bytes());
        }
        self.connection |= *name == CONNECTION;
        self.expect |= *name == EXPECT;
        self.length |= *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        Ok(())
    }
}

/// Parses the headers behind a chunked body.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn parse_trailers(bytes: &Bytes, limits: &HttpLimits) -> Result<HeaderMap, Refusal> {
    check_line_ends(bytes)?;
    let mut places = vec![httparse::EMPTY_HEADER; limits.headers()];
    match httparse::parse_headers(bytes, &mut places) {
        Ok(Status::Complete((length, headers))) if length == bytes.len() => headers
            .iter()
            .map(|header| header_of(header, bytes))
            .collect(),
        Ok(_) => Err(Refusal::bad("The trailers of the request do not end.")),
        Err(error) => Err(explain(error, bytes)),
    }
}

impl Head {
    fn new(mut parts: Parts, has: Has) -> Result<Self, Refusal> {
        let is_10 = parts.version == Version::HTTP_10;
        if !has.host && !is_10 {
            return Err(Refusal::bad("The request has no header Host."));
        }
        prefer_host_of_target(&mut parts);
        let length = match has.length {
            true => body_length(&parts.headers, is_10)?,
            false => BodyLength::Known(0),
        };
        let closes = has.connection && has_token(&parts.headers, &CONNECTION, "close");
        let keeps_alive = match is_10 {
            true => {
                let wants = has.connection && has_token(&parts.headers, &CONNECTION, "keep-alive");
                wants && !closes
            }
            false => !closes,
        };
        let expectation = has.expect.then(|| parts.headers.get(EXPECT)).flatten();
        let expects_continue = match expectation {
            // A client of HTTP/1.0 does not know the answer.
            None => false,
            Some(_) if is_10 => false,
            Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => true,
            Some(_) => {
                return Err(Refusal::new(
                    StatusCode::EXPECTATION_FAILED,
                    "The only expectation that the server knows is 100-continue.",
                ));
            }
        };
        Ok(Self {
            parts,
            length,
            keeps_alive,
            expects_continue,
        })
    }
}

/// Whether a header that is a list has this token.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|it| it.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a header that is a list, which may be in several lines.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|it| !it.is_empty())
}

/// The number of bytes of the empty lines that a client may send before a request.
fn leading_lines(bytes: &[u8]) -> usize {
    let (pairs, _) = bytes.as_chunks::<2>();
    2 * pairs.iter().take_while(|pair| *pair == b"\r\n").count()
}

/// Refuses a line feed without a carriage return: readers differ on its meaning. The parser refuses
/// a carriage return without a line feed.
fn check_line_ends(bytes: &[u8]) -> Result<(), Refusal> {
    let is_alone = |end: usize| end == 0 || bytes[end - 1] != b'\r';
    match memchr_iter(b'\n', bytes).any(is_alone) {
        true => Err(Refusal::bad("A line does not end with CR and LF.")),
        false => Ok(()),
    }
}

/// The refusal of a head that does not end within the limit.
pub(super) fn too_large(bytes: &[u8], limits: &HttpLimits) -> Refusal {
    let line = request_line(bytes);
    match check_target_length(line, limits) {
        Ok(()) if line.is_empty() => TARGET_TOO_LONG,
        Ok(()) => HEAD_TOO_LARGE,
        Err(refusal) => refusal,
    }
}

fn check_target_length(line: &[u8], limits: &HttpLimits) -> Result<(), Refusal> {
    if line.len() <= limits.target() {
        return Ok(());
    }
    match line.split(|byte| *byte == b' ').nth(1) {
        Some(target) if target.len() > limits.target() => Err(TARGET_TOO_LONG),
        _ => Ok(()),
    }
}

const TARGET_TOO_LONG: Refusal = Refusal::new(
    StatusCode::URI_TOO_LONG,
    "The target of the request is too long.",
);

const HEAD_TOO_LARGE: Refusal = Refusal::new(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "The headers of the request are too large, or too many.",
);

fn explain(error: Error, bytes: &[u8]) -> Refusal {
    match error {
        Error::TooManyHeaders => HEAD_TOO_LARGE,
        Error::Version if has_other_version(bytes) => Refusal::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "The server speaks HTTP/1.1 and HTTP/1.0.",
        ),
        Error::Version => Refusal::bad("The request line does not end with a version of HTTP."),
        Error::Token => Refusal::bad("The request line is not valid."),
        Error::HeaderName => Refusal::bad("The name of a header is not a token before a colon."),
        Error::HeaderValue => Refusal::bad("The value of a header has a control character."),
        _ => Refusal::bad("The head of the request is not valid."),
    }
}

/// Whether the request line ends with any version of HTTP.
fn has_other_version(bytes: &[u8]) -> bool {
    let mut parts = request_line(bytes).split(|byte| *byte == b' ');
    let Some(version) = parts.nth(2).filter(|_| parts.next().is_none()) else {
        return false;
    };
    matches!(version, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn header_of(
    header: &httparse::Header<'_>,
    bytes: &Bytes,
) -> Result<(HeaderName, HeaderValue), Refusal> {
    let name = HeaderName::from_bytes(header.name.as_bytes())
        .map_err(|_| Refusal::bad("The name of a header is not a token."))?;
    // An empty value need not lie within the bytes.
    let value = match header.value {
        [] => Bytes::new(),
        value => bytes.slice_ref(value),
    };
    let value = HeaderValue::from_maybe_shared(value)
        .map_err(|_| Refusal::bad("The value of a header has a control character."))?;
    Ok((name, value))
}

/// Puts the host of a target that has one in place of the header `Host`.
fn prefer_host_of_target(parts: &mut Parts) {
    if parts.method != Method::CONNECT
        && let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
}

/// The length of the body. The function refuses everything that two readers could understand in two
/// ways: a second length, both kinds of length, and another coding than `chunked`.
fn body_length(headers: &HeaderMap, is_10: bool) -> Result<BodyLength, Refusal> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).into_iter();
    let length = lengths.next();
    if lengths.next().is_some() {
        return Err(Refusal::bad(
            "The request has more than one Content-Length.",
        ));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        if length.is_some() {
            return Err(Refusal::bad(
                "The request has a Content-Length and a Transfer-Encoding.",
            ));
        }
        if is_10 {
            return Err(Refusal::bad("HTTP/1.0 has no Transfer-Encoding."));
        }
        return check_codings(headers);
    }
    match length {
        None => Ok(BodyLength::Known(0)),
        Some(value) => match parse_length(value.as_bytes()) {
            Some(length) => Ok(BodyLength::Known(length)),
            None => Err(Refusal::bad("The Content-Length is not a number.")),
        },
    }
}

/// Checks that the codings are `chunked` alone.
fn check_codings(headers: &HeaderMap) -> Result<BodyLength, Refusal> {
    let codings = Vec::from_iter(tokens(headers, &TRANSFER_ENCODING));
    let is_chunked = |coding: &&&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let ends_chunked = codings.last().is_some_and(|last| is_chunked(&last));
    match codings.iter().filter(is_chunked).count() {
        1 if codings.len() == 1 => Ok(BodyLength::Chunked),
        1 if ends_chunked => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "The only Transfer-Encoding that the server knows is chunked.",
        )),
        _ => Err(Refusal::bad("The Transfer-Encoding is not chunked.")),
    }
}

/// Parses a length in decimal digits and nothing else.
fn parse_length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| str::from_utf8(value).ok()?.parse().ok())?
}

/// Whether a byte may be in a token, such as a method.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
