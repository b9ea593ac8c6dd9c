//! Whole messages of a bounded size: the communication loop of a handler, one message at a time.

use std::error::Error as StdError;
use std::io::{self, BufRead, ErrorKind};

use memchr::memchr;

use crate::requests::stream_request::StreamRequest;
use crate::values::cause;

/// The reason why a client's message could not be read.
///
/// The [`io::Error`] of [`next_line`](StreamRequest::next_line) and its siblings contains this
/// error. The kind of the `io::Error` is [`InvalidData`](ErrorKind::InvalidData) for a message that
/// is too long, and [`UnexpectedEof`](ErrorKind::UnexpectedEof) for a message that is incomplete.
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
    /// Returns the message error in `error`, or in one of its causes; `None` if the error has
    /// another reason. A handler uses this method to explain to its client what was wrong.
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
    /// Waits for the client's next line, and returns the line without its end (`\n` or `\r\n`).
    /// Returns `None` when the client has ended its side between two lines, or when the server is
    /// stopping and no byte of a further line has arrived.
    ///
    /// `while let Some(line) = request.next_line(1000)? { … }` is the communication loop of a
    /// handler for lines: [`wait`](Self::wait), and a bounded read, in one call. Python's
    /// counterpart is `self.rfile.readline()`, which has no bound unless the caller gives one. If a
    /// line is too long or cut short, Python returns its beginning as if it were a complete line.
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
    /// * A [`MessageError`] for a line of more than `max` bytes, its end not counted, and for a
    ///   line that the client's end cuts short. After that nothing more can be read.
    /// * [`InvalidData`](ErrorKind::InvalidData) for a line that is not UTF-8. After that the next
    ///   line can be read. [`next_until`](Self::next_until) accepts any bytes.
    /// * The errors of [`wait`](Self::wait).
    pub fn next_line(&mut self, max: usize) -> io::Result<Option<String>> {
        if self.wait_for_message()? {
            self.further_line(max).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Waits for the client's next message up to `delimiter`, and returns it without the delimiter.
    /// Returns `None` as [`next_line`](Self::next_line) does.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next_line`](Self::next_line), except that any bytes are a message.
    pub fn next_until(&mut self, delimiter: u8, max: usize) -> io::Result<Option<Vec<u8>>> {
        if self.wait_for_message()? {
            self.further_until(delimiter, max).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Waits for the client's next message of `length` bytes, and returns it. Returns `None` as
    /// [`next_line`](Self::next_line) does. A length of 0 returns an empty message at once.
    ///
    /// Memory is taken as the bytes arrive, so a client that announces much and sends little costs
    /// little. The handler bounds `length` itself.
    ///
    /// # Errors
    ///
    /// [`MessageError::Incomplete`] if the client's end cuts the message short; after that nothing
    /// more can be read. Otherwise the errors of [`wait`](Self::wait).
    pub fn next_exact(&mut self, length: usize) -> io::Result<Option<Vec<u8>>> {
        if length == 0 || self.wait_for_message()? {
            self.further_exact(length).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Reads a further line of the message that has begun, and returns the line as
    /// [`next_line`](Self::next_line) does. A message of several parts is read in this way, such as
    /// a line with a length, and then so many bytes.
    ///
    /// In the middle of a message, a stopping server waits for the rest, until the drain timeout.
    /// The [read deadline](crate::Deadlines::read) bounds the time of all parts together. The
    /// handler bounds the number of the parts.
    ///
    /// ```
    /// use std::io::Write;
    /// use socketserver::{HandlerResult, StreamRequest};
    ///
    /// /// Sends each message back, which is its length in a line, and then so many bytes.
    /// fn echo(request: &mut StreamRequest) -> HandlerResult {
    ///     while let Some(length) = request.next_line(4)? {
    ///         let message = request.further_exact(length.parse()?)?;
    ///         write!(request, "{length}\n")?;
    ///         request.write_all(&message)?;
    ///     }
    ///     Ok(())
    /// }
    /// # let mock = socketserver::mock::MockStream::new().chunk("2\na").chunk("b0\n");
    /// # let recording = mock.run(socketserver::handler_fn(echo));
    /// # assert_eq!(recording.written(), b"2\nab0\n");
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next_line`](Self::next_line). If the client ends its side, the error
    /// is always a [`MessageError::Incomplete`].
    pub fn further_line(&mut self, max: usize) -> io::Result<String> {
        // A carriage return before the line's end is a part of that end.
        let mut line = self.read_until_delimiter(b'\n', max, Some(b'\r'))?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8(line).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
    }

    /// Reads the message that has begun up to `delimiter`, and returns this part without the
    /// delimiter. See [`further_line`](Self::further_line).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`further_line`](Self::further_line), except that any bytes are a
    /// part.
    pub fn further_until(&mut self, delimiter: u8, max: usize) -> io::Result<Vec<u8>> {
        self.read_until_delimiter(delimiter, max, None)
    }

    /// Reads `length` further bytes of the message that has begun. See
    /// [`further_line`](Self::further_line).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`next_exact`](Self::next_exact). If the client ends its side, the
    /// error is always a [`MessageError::Incomplete`].
    pub fn further_exact(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.ensure_readable()?;
        let mut part = Vec::new();
        while part.len() < length {
            let available = self.fill_within_message()?;
            let count = available.len().min(length - part.len());
            part.extend_from_slice(&available[..count]);
            self.consume_of_message(count);
        }
        Ok(part)
    }

    /// Waits for the first byte of a message.
    fn wait_for_message(&mut self) -> io::Result<bool> {
        self.ensure_readable()?;
        self.read_of_message = 0;
        self.wait()
    }

    /// Reads up to `delimiter`. A byte `tolerated` directly before the delimiter does not count.
    fn read_until_delimiter(
        &mut self,
        delimiter: u8,
        max: usize,
        tolerated: Option<u8>,
    ) -> io::Result<Vec<u8>> {
        self.ensure_readable()?;
        let mut read = Vec::new();
        loop {
            let available = self.fill_within_message()?;
            let end = memchr(delimiter, available);
            let part = &available[..end.unwrap_or(available.len())];
            let last = part.last().or(read.last()).copied();
            let slack = usize::from(tolerated.is_some() && last == tolerated);
            if read.len() + part.len() > max.saturating_add(slack) {
                return Err(self.end_reading(MessageError::TooLong { max }));
            }
            if read.is_empty() {
                // With room for a delimiter: an answer of this length takes no further memory.
                read = Vec::with_capacity(part.len() + 1);
            }
            read.extend_from_slice(part);
            let count = part.len() + usize::from(end.is_some());
            self.consume_of_message(count);
            if end.is_some() {
                return Ok(read);
            }
        }
    }

    /// Returns the unread bytes, of which there is one at least, or the error of a message that is
    /// cut short.
    fn fill_within_message(&mut self) -> io::Result<&[u8]> {
        if self.read_buffer.is_empty() {
            self.wait_within_message()?;
            if self.fill_buf()?.is_empty() {
                let received = self.read_of_message;
                return Err(self.end_reading(MessageError::Incomplete { received }));
            }
        }
        Ok(self.buffer())
    }

    fn consume_of_message(&mut self, count: usize) {
        self.consume(count);
        self.read_of_message += count;
    }

    /// Makes every later call fail as this call does, since the beginning of the next message is
    /// unknown.
    fn end_reading(&mut self, error: MessageError) -> io::Error {
        self.reading_ended = Some(Box::new(error));
        error.into_error()
    }

    pub(super) fn ensure_readable(&self) -> io::Result<()> {
        match &self.reading_ended {
            None => Ok(()),
            Some(error) => Err(error.into_error()),
        }
    }
}
