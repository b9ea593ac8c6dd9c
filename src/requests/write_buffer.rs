//! What a handler has written and the connection has not yet taken.

use std::io::{self, ErrorKind, IoSlice};

use crate::transport::stream::Stream;

/// Bytes that are gathered, and sent in as few system calls as it takes.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    bytes: Vec<u8>,
    limit: usize,
    /// Once a write has failed all later ones fail: part of the data may have arrived, and more
    /// after the gap would be misread.
    failure: Option<ErrorKind>,
    nagle: Nagle,
}

/// When Nagle's algorithm, which holds a small write back while an earlier one is unconfirmed, is
/// turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nagle {
    /// The algorithm never holds the first write back, so a connection that writes once needs no
    /// system call for it.
    OffBeforeSecondWrite,
    OffBeforeThisWrite,
    Settled,
}

impl WriteBuffer {
    /// An empty buffer that gathers up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            failure: None,
            nagle: Nagle::OffBeforeSecondWrite,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bounds what is gathered. Returns whether more is gathered already.
    pub(crate) fn set_limit(&mut self, limit: usize) -> bool {
        self.limit = limit;
        self.bytes.len() > limit
    }

    /// The next write is preceded by the system call that turns Nagle's algorithm off.
    pub(crate) fn turn_nagle_off(&mut self) {
        self.nagle = Nagle::OffBeforeThisWrite;
    }

    /// Nagle's algorithm stays as it is.
    pub(crate) fn leave_nagle(&mut self) {
        self.nagle = Nagle::Settled;
    }

    /// Gathers `bytes`, if there is room. Returns whether there was.
    pub(crate) fn gather(&mut self, bytes: &[u8]) -> bool {
        let has_room = self.bytes.len() + bytes.len() <= self.limit;
        if has_room {
            self.bytes.extend_from_slice(bytes);
        }
        has_room
    }

    /// Fails once a write has failed.
    pub(crate) fn ensure_writable(&self) -> io::Result<()> {
        match self.failure {
            None => Ok(()),
            Some(kind) => Err(io::Error::new(
                kind,
                "an earlier write to this connection failed, so nothing more is sent",
            )),
        }
    }

    /// Makes all later writes fail with this kind.
    pub(crate) fn fail(&mut self, kind: ErrorKind) {
        self.failure = Some(kind);
    }

    /// Sends what is gathered, and `more` after it. The buffer is empty then, also if it fails.
    pub(crate) fn send(&mut self, stream: &mut dyn Stream, more: &[u8]) -> io::Result<()> {
        let sent = self.send_all(stream, more);
        self.bytes.clear();
        sent?;
        stream.flush()
    }

    fn send_all(&mut self, stream: &mut dyn Stream, more: &[u8]) -> io::Result<()> {
        let gathered = self.bytes.len();
        let total = gathered + more.len();
        let mut sent = 0;
        while sent < total {
            self.settle_nagle(stream);
            let written = match (gathered.saturating_sub(sent), more) {
                (0, more) => stream.write(&more[sent - gathered..]),
                (_, []) => stream.write(&self.bytes[sent..]),
                (_, more) => {
                    stream.write_vectored(&[IoSlice::new(&self.bytes[sent..]), IoSlice::new(more)])
                }
            };
            match written {
                Ok(0) => {
                    let message = "the connection takes no more bytes";
                    return Err(io::Error::new(ErrorKind::WriteZero, message));
                }
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn settle_nagle(&mut self, stream: &mut dyn Stream) {
        match self.nagle {
            Nagle::OffBeforeSecondWrite => self.nagle = Nagle::OffBeforeThisWrite,
            Nagle::OffBeforeThisWrite => {
                self.nagle = Nagle::Settled;
                // If it fails, writes are delayed, which is no reason to give the client up.
                let _ = stream.set_nodelay(true);
            }
            Nagle::Settled => {}
        }
    }
}
