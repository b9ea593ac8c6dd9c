//! The sending of a response.

use std::io::{self, ErrorKind, Write};

use ::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, TRANSFER_ENCODING};
use ::http::{Response, StatusCode};
use socketserver::StreamRequest;

use super::body_writer::{BodyWriter, Ending};
use super::date::with_date;
use super::head::has_token;
use super::response_body::{Kind, ResponseBody, Upgrade};

/// The room for a usual head of a response.
const HEAD: usize = 512;

/// What a response needs of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
    /// Whether the client speaks HTTP/1.0, which has no chunks.
    pub(super) is_10: bool,
    /// Whether the connection is kept, as far as the request decides.
    pub(super) keeps_alive: bool,
}

/// A response whose head is written.
pub(super) struct Begun {
    kind: Kind,
    ending: Option<Ending>,
    /// Whether the connection may have a further request.
    pub(super) keeps_alive: bool,
}

/// Writes the head of a response.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput) for a response that cannot be sent; nothing of it is
/// written. Also the errors of a write.
pub(super) fn begin(
    connection: &mut StreamRequest,
    asked: Asked,
    response: Response<ResponseBody>,
) -> io::Result<Begun> {
    let is_upgrade = response.body().is_upgrade();
    let (parts, ResponseBody(kind)) = response.into_parts();
    let (status, headers) = (parts.status, &parts.headers);
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    let hands_on = is_switch || asked.is_connect && status.is_success();
    if hands_on != is_upgrade || status.is_informational() && !is_switch {
        let body = ResponseBody(kind);
        let message =
            format!("the response with status {status} cannot have as its body: {body:?}");
        return Err(io::Error::new(ErrorKind::InvalidInput, message));
    }
    let ending = ending(&kind, asked, status, headers)?;
    let has_body = !(asked.is_head || has_no_body(status));
    let closes = !asked.keeps_alive
        || headers.keys().any(|name| *name == CONNECTION)
            && has_token(headers, &CONNECTION, "close")
        || has_body && ending == Some(Ending::Close)
        || connection.server().is_draining();
    let mut head = Vec::with_capacity(HEAD);
    write_status_and_headers(&mut head, status, headers);
    match ending {
        Some(Ending::After(length)) => write_length(&mut head, length),
        Some(Ending::LastChunk) => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Some(Ending::Close) | None => {}
    }
    head.extend_from_slice(match (is_switch, closes) {
        (true, _) => b"connection: upgrade\r\n",
        _ if is_upgrade => b"".as_slice(),
        (false, true) => b"connection: close\r\n",
        (false, false) if asked.is_10 => b"connection: keep-alive\r\n",
        (false, false) => b"",
    });
    head.extend_from_slice(b"\r\n");
    connection.write_all(&head)?;
    Ok(Begun {
        kind: if has_body { kind } else { Kind::Empty },
        ending: ending.filter(|_| has_body),
        keeps_alive: !closes,
    })
}

impl Begun {
    /// The handler to which the connection is handed on.
    pub(super) fn take_upgrade(&mut self) -> Option<Upgrade> {
        match std::mem::take(&mut self.kind) {
            Kind::Upgrade(upgrade) => Some(upgrade),
            kind => {
                self.kind = kind;
                None
            }
        }
    }

    /// Writes the body, and returns the number of its bytes.
    ///
    /// # Errors
    ///
    /// Returns the errors of a write, of the file, and of the function that writes the body. Then
    /// the body is incomplete, and the connection has to be closed.
    pub(super) fn send_body(self, connection: &mut StreamRequest) -> io::Result<u64> {
        match (self.kind, self.ending) {
            (Kind::Empty | Kind::Upgrade(_), _) | (_, None) => Ok(0),
            (Kind::Bytes(bytes), _) => {
                connection.write_all(&bytes)?;
                Ok(bytes.len() as u64)
            }
            (
                Kind::File {
                    file,
                    offset,
                    length,
                },
                _,
            ) => {
                connection.send_file(&file, offset, length)?;
                Ok(length)
            }
            (Kind::Writer(write), Some(ending)) => {
                let mut writer = BodyWriter::new(connection, ending);
                write(&mut writer)?;
                writer.finish()?;
                Ok(writer.written())
            }
        }
    }
}

/// How the client finds the end of the body, or the end of the body that a GET would have. `None`
/// if the head contains nothing about that.
fn ending(
    kind: &Kind,
    asked: Asked,
    status: StatusCode,
    headers: &HeaderMap,
) -> io::Result<Option<Ending>> {
    let announced = announced_length(headers)?.map(Ending::After);
    Ok(match kind {
        Kind::Upgrade(_) => None,
        Kind::Empty if asked.is_head || status == StatusCode::NOT_MODIFIED => announced,
        _ if has_no_body(status) => None,
        Kind::Empty => Some(Ending::After(0)),
        Kind::Bytes(bytes) => Some(Ending::After(bytes.len() as u64)),
        Kind::File { length, .. } => Some(Ending::After(*length)),
        Kind::Writer(_) if asked.is_10 => Some(announced.unwrap_or(Ending::Close)),
        Kind::Writer(_) => Some(announced.unwrap_or(Ending::LastChunk)),
    })
}

/// The length that the handler has set.
fn announced_length(headers: &HeaderMap) -> io::Result<Option<u64>> {
    // Few responses have headers enough for a look-up by hash to be faster.
    let is_length = |(name, _): &(&HeaderName, _)| **name == CONTENT_LENGTH;
    let Some((_, value)) = headers.iter().find(is_length) else {
        return Ok(None);
    };
    match value.to_str().ok().and_then(|value| value.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => {
            let message = format!("the Content-Length of the response is no number: {value:?}");
            Err(io::Error::new(ErrorKind::InvalidInput, message))
        }
    }
}

fn has_no_body(status: StatusCode) -> bool {
    status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

fn write_status_and_headers(head: &mut Vec<u8>, status: StatusCode, headers: &HeaderMap) {
    if status == StatusCode::OK {
        head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        let reason = status.canonical_reason().unwrap_or_default();
        for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
    }
    let mut has_date = false;
    for (name, value) in headers {
        // These are the server's own.
        if [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
            continue;
        }
        has_date |= *name == DATE;
        write_header(head, name.as_str(), value.as_bytes());
    }
    if !has_date {
        with_date(|date| write_header(head, DATE.as_str(), date));
    }
}

fn write_header(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Writes the header `Content-Length`. The digits are written here, because the machinery of
/// `write!` costs more than all other headers of a short response together.
fn write_length(head: &mut Vec<u8>, length: u64) {
    const MOST_DIGITS: usize = 20;
    let mut digits = [0; MOST_DIGITS];
    let mut begin = MOST_DIGITS;
    let mut rest = length;
    loop {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    write_header(head, CONTENT_LENGTH.as_str(), &digits[begin..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_in_decimal_digits() {
        for length in [0, 7, 10, 1024, u64::MAX] {
            let mut head = Vec::new();
            write_length(&mut head, length);
            assert_eq!(head, format!("content-length: {length}\r\n").into_bytes());
        }
    }
}
