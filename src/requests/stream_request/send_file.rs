//! Files as answers.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::requests::stream_request::StreamRequest;

/// The most bytes of one sendfile(2). The sent bytes are counted after each call.
const PART: usize = 1 << 20;

/// The most bytes of a file that are copied at a time. A shorter file is always copied, since it is
/// then sent in one system call with the bytes that were written before.
const COPY: usize = 16 * 1024;

impl StreamRequest {
    /// Sends `length` bytes of a file from `offset`, after the bytes that were written before. The
    /// file's own position is neither used nor changed.
    ///
    /// Uses sendfile(2) if the bytes of the stream are those of a socket. Otherwise the bytes are
    /// copied, for example through a layer that encrypts, or over a [mock](crate::mock). In both
    /// cases the bytes are counted as sent. The client has to take them within the
    /// [deadlines](Self::set_deadlines) and the [timeout](Self::set_timeout) of a write. When the
    /// call returns, the end of a short file may be in the write buffer, as after a write.
    ///
    /// Python's counterpart is `self.request.sendfile(file, offset, count)`. To send a whole file,
    /// take its length from its metadata.
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Write;
    /// use socketserver::{HandlerResult, StreamRequest};
    ///
    /// /// Sends the length of a file on a line, and then the file.
    /// fn answer(request: &mut StreamRequest, file: &File) -> HandlerResult {
    ///     let length = file.metadata()?.len();
    ///     writeln!(request, "{length}")?;
    ///     Ok(request.send_file(file, 0, length)?)
    /// }
    /// # let mut file = tempfile::tempfile()?;
    /// # file.write_all(b"content")?;
    /// # let handler = socketserver::handler_fn(move |request| answer(request, &file));
    /// # let recording = socketserver::mock::MockStream::new().run(handler);
    /// # assert_eq!(recording.written(), b"7\ncontent");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the file ends before `length` bytes, and the
    /// errors of a write and of a read of the file. After an error nothing more can be sent, since
    /// the client would take it for the rest of the file.
    #[doc(alias = "sendfile")]
    pub fn send_file(&mut self, file: &File, offset: u64, length: u64) -> io::Result<()> {
        self.write_buffer.ensure_writable()?;
        self.ensure_in_time()?;
        if let Some(clock) = &mut self.clock {
            clock.note_answer();
        }
        let mut sent = 0;
        if length > COPY as u64 {
            self.send_gathered()?;
            while sent < length {
                let count = usize::try_from(length - sent).unwrap_or(PART).min(PART);
                let position = offset.saturating_add(sent);
                match self.send_part(file, position, count)? {
                    None => break,
                    Some(0) => return Err(self.file_ended(sent, length)),
                    Some(count) => sent += count as u64,
                }
                self.note_rest_of_file(sent, length);
            }
        }
        self.copy_file(file, offset, sent, length)
    }

    /// Sends a part without a copy. Returns `None` if that is not possible.
    fn send_part(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        self.send_in_time(|stream, _, end| {
            if end.is_some_and(|end| end <= Instant::now()) {
                return (0, Err(ErrorKind::TimedOut.into()));
            }
            let sent = loop {
                match stream.send_file(file, offset, count) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    sent => break sent,
                }
            };
            let count = sent.as_ref().ok().copied().flatten();
            (count.unwrap_or(0), sent)
        })
    }

    /// Writes the bytes of the file from `sent` to `length`, counted from `offset`.
    fn copy_file(&mut self, file: &File, offset: u64, sent: u64, length: u64) -> io::Result<()> {
        let mut sent = sent;
        let mut bytes = [0; COPY];
        while sent < length {
            self.ensure_in_time()?;
            let count = usize::try_from(length - sent).unwrap_or(COPY).min(COPY);
            let position = offset.saturating_add(sent);
            // No file is longer than `i64::MAX`, and pread(2) fails beyond.
            let read = match i64::try_from(position) {
                Ok(_) => file.read_at(&mut bytes[..count], position),
                Err(_) => Ok(0),
            };
            match read {
                Ok(0) => return Err(self.file_ended(sent, length)),
                Ok(count) => {
                    self.gather(&bytes[..count])?;
                    sent += count as u64;
                    self.note_rest_of_file(sent, length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.write_buffer.fail(error.kind());
                    let message = format!("the file to send cannot be read: {error}");
                    return Err(io::Error::new(error.kind(), message));
                }
            }
        }
        Ok(())
    }

    /// A client that leaves before the rest of the file leaves in the middle of an exchange.
    fn note_rest_of_file(&mut self, sent: u64, length: u64) {
        if sent < length {
            self.received_in_exchange = self.received_in_exchange.max(1);
        }
    }

    fn file_ended(&mut self, sent: u64, length: u64) -> io::Error {
        let kind = ErrorKind::UnexpectedEof;
        self.write_buffer.fail(kind);
        let message = format!("the file ended after {sent} of the {length} bytes to send");
        io::Error::new(kind, message)
    }
}
