//! The buffer of the bytes that a handler has written and the connection has not sent yet.

use std::io::{self, ErrorKind, IoSlice};
use std::time::Instant;

use crate::transport::stream::Stream;

/// Gathers bytes, and sends them in as few system calls as possible.
#[derive(Debug)]
pub(crate) struct WriteBuffer {
    bytes: Vec<u8>,
    limit: usize,
    /// Once a write has failed, all later writes fail: part of the data may have arrived, and more
    /// data after the gap would be misread.
    failure: Option<ErrorKind>,
    nagle: Nagle,
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

    /// Bounds the gathered bytes. Returns whether more are gathered already.
    pub(crate) fn set_limit(&mut self, limit: usize) -> bool {
        self.limit = limit;
        self.bytes.len() > limit
    }

    /// Turns Nagle's algorithm off before the next write.
    pub(crate) fn turn_nagle_off(&mut self) {
        self.nagle = Nagle::OffBeforeThisWrite;
    }

    /// Leaves Nagle's algorithm as it is.
    pub(crate) fn leave_nagle(&mut self) {
        self.nagle = Nagle::Settled;
    }

    /// Gathers `bytes`, if they fit. Returns whether they do.
    pub(crate) fn gather(&mut self, bytes: &[u8]) -> bool {
        let has_room = self.bytes.len() + bytes.len() <= self.limit;
        if has_room {
            self.bytes.extend_from_slice(bytes);
        }
        has_room
    }

    /// Uses the memory of `storage` from now on, if nothing is gathered.
    pub(crate) fn borrow(&mut self, storage: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, storage);
            self.bytes.clear();
        }
    }

    /// Puts the memory into `storage`, if nothing is gathered.
    pub(crate) fn give_back(&mut self, storage: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            *storage = std::mem::take(&mut self.bytes);
        }
    }

    /// Fails if an earlier write has failed.
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

    /// Sends the gathered bytes, then `more`. The buffer is empty afterwards, even after an error.
    /// Fails with [`TimedOut`](ErrorKind::TimedOut) if bytes are unsent at `end`, although the
    /// stream would take them.
    pub(crate) fn send(
        &mut self,
        stream: &mut dyn Stream,
        more: &[u8],
        end: Option<Instant>,
    ) -> Sent {
        let mut count = 0;
        let sent = self.send_all(stream, more, end, &mut count);
        self.bytes.clear();
        let result = sent.and_then(|()| stream.flush());
        Sent { count, result }
    }

    fn send_all(
        &mut self,
        stream: &mut dyn Stream,
        more: &[u8],
        end: Option<Instant>,
        sent: &mut usize,
    ) -> io::Result<()> {
        let gathered = self.bytes.len();
        let total = gathered + more.len();
        while *sent < total {
            if *sent > 0 && end.is_some_and(|end| end <= Instant::now()) {
                return Err(ErrorKind::TimedOut.into());
            }
            self.settle_nagle(stream);
            let written = match (gathered.saturating_sub(*sent), more) {
                (0, more) => stream.write(&more[*sent - gathered..]),
                (_, []) => stream.write(&self.bytes[*sent..]),
                (_, more) => {
                    stream.write_vectored(&[IoSlice::new(&self.bytes[*sent..]), IoSlice::new(more)])
                }
            };
            match written {
                Ok(0) => {
                    let message = "the connection takes no more bytes";
                    return Err(io::Error::new(ErrorKind::WriteZero, message));
                }
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Turns Nagle's algorithm off now, unless it is to stay on: for bytes that bypass the buffer.
    pub(crate) fn settle_nagle_now(&mut self, stream: &mut dyn Stream) {
        if self.nagle == Nagle::OffBeforeSecondWrite {
            self.turn_nagle_off();
        }
        self.settle_nagle(stream);
    }

    fn settle_nagle(&mut self, stream: &mut dyn Stream) {
        match self.nagle {
            Nagle::OffBeforeSecondWrite => self.nagle = Nagle::OffBeforeThisWrite,
            Nagle::OffBeforeThisWrite => {
                self.nagle = Nagle::Settled;
                // Ignored: an error only means that writes are delayed.
                let _ = stream.set_nodelay(true);
            }
            Nagle::Settled => {}
        }
    }
}

/// What [`WriteBuffer::send`] has sent, and how it ended.
#[derive(Debug)]
pub(crate) struct Sent {
    pub count: usize,
    pub result: io::Result<()>,
}

/// When to turn off Nagle's algorithm, which delays a small write while an earlier write is
/// unconfirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nagle {
    /// The default. The algorithm never delays the first write, so a connection that writes once
    /// saves the system call.
    OffBeforeSecondWrite,
    OffBeforeThisWrite,
    Settled,
}
