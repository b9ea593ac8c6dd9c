//! How far a request's body has been read.

use std::io::{self, BufRead, Read, Write};

use ::http::header::HeaderMap;
use bytes::Bytes;
use socketserver::StreamRequest;

use super::body_error::BodyError;
use super::head::{self, BodyLength};
use super::limits::HttpLimits;

/// The most bytes of a line with the length of a chunk.
const CHUNK_LINE: usize = 1024;

/// The most bytes of all extensions of the chunks of a body together. No program uses extensions,
/// and a client could make each byte of a body cost a kilobyte, if each byte were a chunk.
const EXTENSIONS: usize = 16 * 1024;

/// The most unread bytes of a body that are read after the response, so that the connection can be
/// kept. A connection with more is closed.
const DISCARDED: u64 = 64 * 1024;

/// The reading of a body from a connection.
#[derive(Debug)]
pub(super) struct Transfer {
    place: Place,
    /// The bytes that may still come.
    left: Option<u64>,
    limits: HttpLimits,
    extensions: usize,
    /// Whether the client waits for permission to send the body.
    awaits_continue: bool,
    trailers: HeaderMap,
    /// Why nothing more can be read.
    failure: Option<BodyError>,
}

/// What comes next from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// This many bytes, and then the end.
    Rest(u64),
    /// A line with the length of a chunk.
    ChunkLength,
    /// This many bytes of a chunk, at least one.
    Chunk(u64),
    /// The end of the line that a chunk is.
    ChunkEnd,
    Trailers,
    /// The next request.
    End,
}

impl Transfer {
    pub(super) fn new(length: BodyLength, awaits_continue: bool, limits: &HttpLimits) -> Self {
        let place = match length {
            BodyLength::Known(0) => Place::End,
            BodyLength::Known(length) => Place::Rest(length),
            BodyLength::Chunked => Place::ChunkLength,
        };
        Self {
            place,
            left: limits.body(),
            limits: *limits,
            extensions: 0,
            awaits_continue: awaits_continue && place != Place::End,
            trailers: HeaderMap::new(),
            failure: None,
        }
    }

    /// Whether the body has been read to its end.
    pub(super) fn is_at_end(&self) -> bool {
        self.place == Place::End
    }

    pub(super) fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }

    /// Whether the rest of this body can be read and discarded, as far as is known.
    pub(super) fn may_be_discarded(&self) -> bool {
        match self.place {
            Place::End => true,
            _ if self.awaits_continue || self.failure.is_some() => false,
            Place::Rest(length) => length <= DISCARDED,
            _ => true,
        }
    }

    /// Reads the rest of the body. Returns whether the next bytes of the connection are the next
    /// request.
    pub(super) fn discard(&mut self, connection: &mut StreamRequest) -> bool {
        let mut discarded = 0;
        while self.may_be_discarded() && discarded <= DISCARDED {
            match self.fill_buf(connection).map(<[u8]>::len) {
                Ok(0) => return true,
                Ok(count) => {
                    discarded += count as u64;
                    self.consume(connection, count);
                }
                Err(_) => return false,
            }
        }
        false
    }

    /// As [`BufRead::fill_buf`].
    pub(super) fn fill_buf<'a>(
        &mut self,
        connection: &'a mut StreamRequest,
    ) -> io::Result<&'a [u8]> {
        let part = self.next_part(connection)?;
        if part == 0 {
            return Ok(&[]);
        }
        let available = self.received(connection.fill_buf()?.len())?;
        let count = usize::try_from(part).unwrap_or(available).min(available);
        Ok(&connection.buffer()[..count])
    }

    /// As [`BufRead::consume`].
    pub(super) fn consume(&mut self, connection: &mut StreamRequest, amount: usize) {
        connection.consume(amount);
        self.advance(amount);
    }

    /// As [`Read::read`].
    pub(super) fn read(
        &mut self,
        connection: &mut StreamRequest,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let part = self.next_part(connection)?;
        let count = usize::try_from(part)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        if count == 0 {
            return Ok(0);
        }
        let count = connection.read(&mut buffer[..count])?;
        let count = self.received(count)?;
        self.advance(count);
        Ok(count)
    }

    /// The bytes of the body that come next without an interruption; 0 at the end of the body.
    fn next_part(&mut self, connection: &mut StreamRequest) -> io::Result<u64> {
        if let Some(failure) = self.failure {
            return Err(failure.into_error());
        }
        if std::mem::take(&mut self.awaits_continue) && connection.buffer().is_empty() {
            connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        loop {
            match self.place {
                Place::End => return Ok(0),
                Place::Rest(length) | Place::Chunk(length) => return Ok(length),
                Place::ChunkLength => {
                    let line = self.line(connection, CHUNK_LINE)?;
                    let length = chunk_length(&line).map_err(|reason| self.fail(reason))?;
                    self.extensions += line.iter().skip_while(|byte| **byte != b';').count();
                    if self.extensions > EXTENSIONS {
                        let error = BodyError::malformed("The chunks have too many extensions.");
                        return Err(self.fail(error));
                    }
                    if let (Some(left), Some(max)) = (self.left, self.limits.body())
                        && length > left
                    {
                        return Err(self.fail(BodyError::TooLarge { max }));
                    }
                    self.left = self.left.map(|left| left - length);
                    self.place = match length {
                        0 => Place::Trailers,
                        length => Place::Chunk(length),
                    };
                }
                Place::ChunkEnd => {
                    if !self.line(connection, 0)?.is_empty() {
                        let error = BodyError::malformed("A chunk is longer than its length.");
                        return Err(self.fail(error));
                    }
                    self.place = Place::ChunkLength;
                }
                Place::Trailers => {
                    self.trailers = self.read_trailers(connection)?;
                    self.place = Place::End;
                }
            }
        }
    }

    fn advance(&mut self, count: usize) {
        let count = count as u64;
        self.place = match self.place {
            Place::Rest(length) if length <= count => Place::End,
            Place::Rest(length) => Place::Rest(length - count),
            Place::Chunk(length) if length <= count => Place::ChunkEnd,
            Place::Chunk(length) => Place::Chunk(length - count),
            place => place,
        };
    }

    fn read_trailers(&mut self, connection: &mut StreamRequest) -> io::Result<HeaderMap> {
        let mut trailers = Vec::new();
        loop {
            let left = self.limits.head().saturating_sub(trailers.len());
            let line = self.line(connection, left)?;
            if line.is_empty() && trailers.is_empty() {
                return Ok(HeaderMap::new());
            }
            trailers.extend_from_slice(&line);
            trailers.extend_from_slice(b"\r\n");
            if line.is_empty() {
                let trailers = head::parse_trailers(&Bytes::from(trailers), &self.limits);
                return trailers.map_err(|refusal| self.fail(BodyError::malformed(refusal.reason)));
            }
        }
    }

    /// Reads a line of at most `max` bytes, which ends with CR and LF, and returns the line without
    /// its end.
    fn line(&mut self, connection: &mut StreamRequest, max: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let count = connection.fill_buf()?.len();
            self.received(count)?;
            let available = connection.buffer();
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.map_or(count, |end| end + 1)];
            if line.len() + part.len() > max.saturating_add(2) {
                return Err(self.fail(BodyError::malformed("A line of the body is too long.")));
            }
            line.extend_from_slice(part);
            let count = part.len();
            connection.consume(count);
            if end.is_some() {
                let text = line.strip_suffix(b"\r\n").filter(|it| !it.contains(&b'\r'));
                let Some(text) = text.map(<[u8]>::len) else {
                    let reason = "A line of the body does not end with CR and LF.";
                    return Err(self.fail(BodyError::malformed(reason)));
                };
                line.truncate(text);
                return Ok(line);
            }
        }
    }

    /// Returns `count`, the number of received bytes, unless the client has ended its side.
    fn received(&mut self, count: usize) -> io::Result<usize> {
        match count {
            0 => Err(self.fail(BodyError::Incomplete)),
            count => Ok(count),
        }
    }

    /// Makes every later read fail like this read, because the beginning of the next request is
    /// unknown.
    fn fail(&mut self, error: BodyError) -> io::Error {
        self.failure = Some(error);
        error.into_error()
    }
}

/// The length of a chunk in its line, which may have extensions behind.
fn chunk_length(line: &[u8]) -> Result<u64, BodyError> {
    const NO_LENGTH: BodyError = BodyError::Malformed {
        reason: "The length of a chunk is not a hexadecimal number.",
    };
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (digits, rest) = line.split_at(digits.count());
    let is_extension = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let begins_well = matches!(rest.trim_ascii_start(), [b';', ..]);
    let has_extensions = begins_well && rest.iter().all(is_extension);
    // This many digits are a number of 64 bits.
    let has_digits = (1..=16).contains(&digits.len());
    if !has_digits || !(rest.is_empty() || has_extensions) {
        return Err(NO_LENGTH);
    }
    let digits = str::from_utf8(digits).map_err(|_| NO_LENGTH)?;
    u64::from_str_radix(digits, 16).map_err(|_| NO_LENGTH)
}
