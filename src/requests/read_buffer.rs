//! What has been received on a connection and not yet read by its handler.

use std::io::{self, ErrorKind};

use crate::transport::stream::Stream;

/// The size of the first read; when it is filled, further reads take the rest of a longer message.
const FIRST_READ: usize = 512;

/// Bytes that have been received and not yet read.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// As long as the longest message so far, up to the limit.
    storage: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    /// The failure after the buffered bytes, for the next fill to report.
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

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Whether a read of `size` may go to the connection itself: it needs no buffer if it is at
    /// least as large as the first read of a fill.
    pub(crate) fn may_be_bypassed(&self, size: usize) -> bool {
        self.is_empty() && self.failure.is_none() && size >= self.limit.min(FIRST_READ)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// Takes all unread bytes out.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_owned();
        self.consume(bytes.len());
        bytes
    }

    /// Fills the empty buffer with what one read returns, and returns how many bytes these are:
    /// none at the end of file.
    ///
    /// If more has arrived than the read asked for, the buffer grows up to its limit and takes
    /// that too: how much a fill takes depends on the limit and the client alone.
    pub(crate) fn fill(&mut self, stream: &mut dyn Stream) -> io::Result<usize> {
        (self.start, self.end) = (0, 0);
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let mut size = self.storage.len().min(self.limit);
        if size <= FIRST_READ {
            size = self.limit.min(FIRST_READ);
            self.fill_through_stack(stream, size)?;
        } else {
            self.end = read_uninterrupted(stream, &mut self.storage[..size])?;
        }
        while self.end == size && size < self.limit {
            size = (size * 2).min(self.limit);
            match self.fill_more(stream, size) {
                Ok(()) => {}
                // The handler reads the bytes before it first.
                Err(failure) => self.failure = Some(failure),
            }
        }
        Ok(self.end)
    }

    /// Appends what has arrived to the unread bytes, with one read of a stream that is readable
    /// now. Returns how many bytes these are: none at the end of file.
    pub(crate) fn append(&mut self, stream: &mut dyn Stream) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.storage.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let size = (self.end + FIRST_READ).min(self.limit);
        if size <= self.end {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("{} bytes are unread, and fill the read buffer", self.end),
            ));
        }
        if self.storage.len() < size {
            self.storage.resize(size, 0);
        }
        let count = read_uninterrupted(stream, &mut self.storage[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Takes what has arrived beyond the buffered bytes, up to `size` in all.
    fn fill_more(&mut self, stream: &mut dyn Stream, size: usize) -> io::Result<()> {
        if stream.readable_now()? {
            self.storage.resize(size, 0);
            self.end += read_uninterrupted(stream, &mut self.storage[self.end..])?;
        }
        Ok(())
    }

    /// Reads into the stack first: an idle connection that has had short messages only owns no heap
    /// buffer of the full size.
    fn fill_through_stack(&mut self, stream: &mut dyn Stream, size: usize) -> io::Result<()> {
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
pub(crate) fn read_uninterrupted(stream: &mut dyn Stream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
