//! Whole messages of a bounded size: the communication loop of a handler, one message at a time.

use std::error::Error as StdError;
use std::io::{self, BufRead, ErrorKind};

use crate::requests::stream_request::StreamRequest;
use crate::values::cause;

/// Why a client's message was not read.
///
/// The [`io::Error`] of [`next_line`](StreamRequest::next_line) and its siblings has it inside. The
/// kind of that error is [`InvalidData`](ErrorKind::InvalidData) for a message that is too long,
/// and [`UnexpectedEof`](ErrorKind::UnexpectedEof) for one that is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The message is longer than the handler allows.
    #[error("the client's message is longer than {max} bytes")]
    #[non_exhaustive]
    TooLong {
        /// The most bytes that the handler allows.
        max: usize,
    },
    /// The client ended its side in the middle of the message.
    #[error("the client left in the middle of a message, after {received} bytes of it")]
    #[non_exhaustive]
    Incomplete {
        /// The bytes of the message that came.
        received: usize,
    },
}

impl MessageError {
    /// The message error in `error`, or in one of its causes; `None` if the error has another
    /// reason. For a handler that explains to its client what was wrong.
    #[must_use]
    pub fn find_in(error: &(dyn StdError + 'static)) -> Option<Self> {
        cause::find_in(error)
    }

    fn into_error(self) -> io::Error {
        let kind = match self {
            Self::TooLong { .. } => ErrorKind::InvalidData,
            Self::Incomplete { .. } => ErrorKind::UnexpectedEof,
        };
        io::Error::new(kind, self)
    }
}

impl StreamRequest {
    /// Waits for the client's next line, and returns it without its end (`\n` or `\r\n`). Returns
    /// `None` when the client has ended its side between two lines, or when the server is stopping
    /// and nothing of a further line has arrived.
    ///
    /// `while let Some(line) = request.next_line(1000)? { … }` is the communication loop of a
    /// handler for lines: [`wait`](Self::wait), and a bounded read, in one. Python's
    /// `self.rfile.readline()`, which has no bound unless given, and returns the beginning of a
    /// line that is too long, or cut short, as if it were a whole one.
    ///
    /// ```
    /// use std::io::Write;
    /// use socketserver::{HandlerResult, RequestHandler, StreamRequest};
    ///
    /// /// Counts the characters of each line.
    /// struct Count;
    ///
    /// impl RequestHandler for Count {
    ///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
    ///         while let Some(line) = request.next_line(1000)? {
    ///             writeln!(request, "{}", line.chars().count())?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// # use socketserver::mock::MockStream;
    /// # let recording = MockStream::new().chunk("hé\nb").chunk("cd\r\n").run(Count);
    /// # assert_eq!(recording.written(), b"2\n3\n");
    /// ```
    ///
    /// # Errors
    ///
    /// A [`MessageError`] for a line of more than `max` bytes, its end not counted, and for a line
    /// that the client's end cuts short; then nothing more can be read.
    /// [`InvalidData`](ErrorKind::InvalidData) for a line that is not UTF-8, after which the next
    /// line can be read; [`next_until`](Self::next_until) takes any bytes. Else as
    /// [`wait`](Self::wait).
    pub fn next_line(&mut self, max: usize) -> io::Result<Option<String>> {
        // A carriage return before the line's end is a part of that end.
        let Some(mut line) = self.read_message(b'\n', max, Some(b'\r'))? else {
            return Ok(None);
        };
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let text = String::from_utf8(line);
        text.map(Some)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    /// Waits for the client's next message up to `delimiter`, and returns it without the delimiter.
    /// Returns `None` as [`next_line`](Self::next_line) does.
    ///
    /// # Errors
    ///
    /// As [`next_line`](Self::next_line), but any bytes are a message.
    pub fn next_until(&mut self, delimiter: u8, max: usize) -> io::Result<Option<Vec<u8>>> {
        self.read_message(delimiter, max, None)
    }

    /// Waits for the client's next message of `length` bytes, and returns it. Returns `None` as
    /// [`next_line`](Self::next_line) does. A length of 0 returns an empty message at once.
    ///
    /// Memory is taken as the bytes come, so a client that announces much and sends little costs
    /// little. The handler bounds `length` itself.
    ///
    /// # Errors
    ///
    /// [`MessageError::Incomplete`] if the client's end cuts the message short; then nothing more
    /// can be read. Else as [`wait`](Self::wait).
    pub fn next_exact(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        self.ensure_readable()?;
        let mut message = Vec::new();
        if length > 0 && !self.wait()? {
            return Ok(None);
        }
        while message.len() < length {
            self.wait_within_message()?;
            let available = self.fill_buf()?;
            let count = available.len().min(length - message.len());
            if count == 0 {
                let received = message.len();
                return Err(self.end_reading(MessageError::Incomplete { received }));
            }
            message.extend_from_slice(&available[..count]);
            self.consume(count);
        }
        Ok(Some(message))
    }

    /// Reads up to `delimiter`. One byte `tolerated` before it is not counted.
    fn read_message(
        &mut self,
        delimiter: u8,
        max: usize,
        tolerated: Option<u8>,
    ) -> io::Result<Option<Vec<u8>>> {
        self.ensure_readable()?;
        if !self.wait()? {
            return Ok(None);
        }
        let mut message = Vec::new();
        loop {
            self.wait_within_message()?;
            let available = self.fill_buf()?;
            if available.is_empty() {
                let received = message.len();
                return Err(self.end_reading(MessageError::Incomplete { received }));
            }
            let end = available.iter().position(|&byte| byte == delimiter);
            let part = &available[..end.unwrap_or(available.len())];
            let last = part.last().or(message.last()).copied();
            let slack = usize::from(tolerated.is_some() && last == tolerated);
            if message.len() + part.len() > max.saturating_add(slack) {
                return Err(self.end_reading(MessageError::TooLong { max }));
            }
            message.extend_from_slice(part);
            let count = part.len() + usize::from(end.is_some());
            self.consume(count);
            if end.is_some() {
                return Ok(Some(message));
            }
        }
    }

    /// Makes every later call fail as this one: the beginning of the next message is unknown.
    fn end_reading(&mut self, error: MessageError) -> io::Error {
        self.reading_ended = Some(error);
        error.into_error()
    }

    pub(super) fn ensure_readable(&self) -> io::Result<()> {
        match self.reading_ended {
            None => Ok(()),
            Some(error) => Err(error.into_error()),
        }
    }
}
