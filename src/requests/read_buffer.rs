//! What has been received on a connection and not yet read by its handler.

use std::io::{self, ErrorKind};

use crate::transport::stream::Stream;

/// What a read asks for at first; the rest of a longer message is asked for when this is full.
const FIRST_READ: usize = 512;

/// Bytes that have been received and not yet read.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// As long as the longest message so far, up to the limit.
    storage: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    /// What failed after bytes had come, for the next fill to report.
    failure: Option<io::Error>,
}

impl ReadBuffer {
    /// An empty buffer that reads up to `limit` bytes ahead, at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            storage: Vec::new(),
            start: 0,
            end: 0,
            limit,
            failure: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bounds what is read ahead of the handler from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether a read of `size` may go to the connection itself: it needs no buffer if it is at least
    /// as large as the first read of a fill.
    pub(crate) fn may_be_passed_by(&self, size: usize) -> bool {
        self.is_empty() && self.failure.is_none() && size >= self.limit.min(FIRST_READ)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// Takes what one read gives into the empty buffer, which stays empty at the end of file, and
    /// tells how many bytes that were.
    ///
    /// Where more has arrived than the read asked for, the buffer grows up to its limit and takes
    /// that too: how much a fill gives depends on the limit and the client alone.
    pub(crate) fn fill(&mut self, stream: &mut Box<dyn Stream>) -> io::Result<usize> {
        (self.start, self.end) = (0, 0);
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut size = self.storage.len().min(self.limit);
        if size <= FIRST_READ {
            size = self.limit.min(FIRST_READ);
            self.fill_by_way_of_stack(stream, size)?;
        } else {
            self.end = read_uninterrupted(stream, &mut self.storage[..size])?;
        }
        while self.end == size && size < self.limit {
            size = (size * 2).min(self.limit);
            match self.fill_more(stream, size) {
                Ok(()) => {}
                // The bytes that came before it are the handler's first.
                Err(failure) => self.failure = Some(failure),
            }
        }
        Ok(self.end)
    }

    /// Takes what has arrived beyond the bytes that there are, up to `size` in all.
    fn fill_more(&mut self, stream: &mut Box<dyn Stream>, size: usize) -> io::Result<()> {
        if stream.readable_now()? {
            self.storage.resize(size, 0);
            self.end += read_uninterrupted(stream, &mut self.storage[self.end..])?;
        }
        Ok(())
    }

    /// A connection that waits here, and has had short messages only, holds no buffer for the next.
    fn fill_by_way_of_stack(
        &mut self,
        stream: &mut Box<dyn Stream>,
        size: usize,
    ) -> io::Result<()> {
        let mut message = [0; FIRST_READ];
        let count = read_uninterrupted(stream, &mut message[..size])?;
        if self.storage.len() < count {
            self.storage.resize(count, 0);
        }
        self.storage[..count].copy_from_slice(&message[..count]);
        self.end = count;
        Ok(())
    }
}

/// Reads once, whatever signals come in between.
pub(crate) fn read_uninterrupted(
    stream: &mut Box<dyn Stream>,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
