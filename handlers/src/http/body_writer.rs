//! The writing of a body whose length is not known in advance.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use socketserver::StreamRequest;

/// The bytes that are gathered for one chunk.
const CHUNK: usize = 8 * 1024;

/// Where the function of [`ResponseBody::writer`](super::ResponseBody::writer) writes.
///
/// Small writes are gathered into one chunk. [`flush`](Write::flush) sends the gathered bytes at
/// once, for events that the client has to receive when they happen.
///
/// Python's counterpart is `self.wfile`, which sends each write by itself, and has no chunks.
pub struct BodyWriter<'a> {
    connection: &'a mut StreamRequest,
    ending: Ending,
    gathered: Vec<u8>,
    written: u64,
}

/// How the client finds the end of a body that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// This many bytes in all.
    After(u64),
    /// The last chunk, which is empty.
    LastChunk,
    /// The end of the connection.
    Close,
}

impl<'a> BodyWriter<'a> {
    pub(super) fn new(connection: &'a mut StreamRequest, ending: Ending) -> Self {
        Self {
            connection,
            ending,
            gathered: Vec::new(),
            written: 0,
        }
    }

    /// The bytes of the body that have been written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// Returns the errors of a write, and [`UnexpectedEof`](ErrorKind::UnexpectedEof) if fewer
    /// bytes were written than the response announces.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self.ending {
            Ending::After(length) if self.written < length => {
                let written = self.written;
                let message = format!("the body has {written} of the {length} announced bytes");
                Err(io::Error::new(ErrorKind::UnexpectedEof, message))
            }
            Ending::After(_) | Ending::Close => Ok(()),
            Ending::LastChunk => {
                self.send_chunk()?;
                self.connection.write_all(b"0\r\n\r\n")
            }
        }
    }

    /// Writes the gathered bytes as a chunk. An empty chunk would end the body.
    fn send_chunk(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        write!(self.connection, "{:x}\r\n", self.gathered.len())?;
        self.connection.write_all(&self.gathered)?;
        self.gathered.clear();
        self.connection.write_all(b"\r\n")
    }
}

impl Write for BodyWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.ending {
            Ending::LastChunk => {
                if self.gathered.len() + bytes.len() > CHUNK {
                    self.send_chunk()?;
                }
                self.gathered.extend_from_slice(bytes);
                if self.gathered.len() >= CHUNK {
                    self.send_chunk()?;
                }
            }
            Ending::After(length) if bytes.len() as u64 > length - self.written => {
                let message = format!("the body has more than the {length} announced bytes");
                return Err(io::Error::new(ErrorKind::InvalidInput, message));
            }
            Ending::After(_) | Ending::Close => self.connection.write_all(bytes)?,
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_chunk()?;
        self.connection.flush()
    }
}

impl fmt::Debug for BodyWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyWriter")
            .field("client", self.connection.client_address())
            .field("ending", &self.ending)
            .field("written", &self.written)
            .finish()
    }
}
