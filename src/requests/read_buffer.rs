//! The buffer of a connection's received bytes that its handler has not read yet.

use std::io::{self, ErrorKind};

use crate::transport::stream::{Stream, has_expired};

/// The size of the first read. If the read fills it, further reads take the rest of a longer
/// message.
const FIRST_READ: usize = 512;

/// Received bytes that are still unread.
#[derive(Debug)]
pub(crate) struct ReadBuffer {
    /// Grows to the longest message so far, up to the limit.
    storage: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    /// The error that came after the buffered bytes, which the next fill returns.
    failure: Option<io::Error>,
}

impl ReadBuffer {
    /// An empty buffer that reads up to `limit` bytes ahead; `limit` is at least one.
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

    /// Whether a read of `size` may go directly to the connection: the buffer is empty, and the
    /// read is at least as large as the first read of a fill.
    pub(crate) fn may_be_bypassed(&self, size: usize) -> bool {
        self.is_empty() && self.failure.is_none() && size >= self.limit.min(FIRST_READ)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    pub(crate) fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// Removes and returns all unread bytes, and the failure after them.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Option<io::Error>) {
        let bytes = self.bytes().to_owned();
        self.consume(bytes.len());
        (bytes, self.failure.take())
    }

    /// Fills the empty buffer with the bytes of one read, and returns their number: 0 at the end of
    /// file.
    ///
    /// If more has arrived, the buffer grows up to its limit and takes that too, so that the number
    /// of bytes depends on the limit and the client alone.
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
                // A layer has only a part of the bytes that it needs. The next read waits for the
                // rest.
                Err(failure) if has_expired(&failure) => break,
                // The handler first reads the bytes before the failure.
                Err(failure) => self.failure = Some(failure),
            }
        }
        Ok(self.end)
    }

    /// Appends the bytes that have arrived to the unread bytes, with one read of a stream that is
    /// readable now. Returns their number: 0 at the end of file.
    pub(crate) fn append(&mut self, stream: &mut dyn Stream) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.move_to_front();
        let size = (self.end + FIRST_READ).min(self.limit);
        if size <= self.end {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                format!("{} unread bytes fill the read buffer", self.end),
            ));
        }
        if self.storage.len() < size {
            self.storage.resize(size, 0);
        }
        let count = read_uninterrupted(stream, &mut self.storage[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// Appends as [`append`](Self::append) does, as far as the buffer has room, from a stream that
    /// need not be readable. The caller has checked that the buffer [has room](Self::is_full).
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](ErrorKind::WouldBlock) if nothing has arrived.
    pub(crate) fn append_now(&mut self, stream: &mut dyn Stream) -> io::Result<usize> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.move_to_front();
        if self.storage.len() < self.limit {
            self.storage.resize(self.limit, 0);
        }
        debug_assert!(
            self.end < self.limit,
            "a read without room is no end of file"
        );
        loop {
            match stream.read_now(&mut self.storage[self.end..self.limit]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.end += count;
                    return Ok(count);
                }
            }
        }
    }

    /// Whether the buffer has no room for more unread bytes.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.start >= self.limit
    }

    /// Uses `storage` from now on, if no bytes are unread.
    pub(crate) fn borrow(&mut self, storage: &mut Vec<u8>) {
        if self.is_empty() {
            std::mem::swap(&mut self.storage, storage);
            (self.start, self.end) = (0, 0);
        }
    }

    /// Puts a borrowed storage back into `storage`, and keeps the unread bytes in a storage of
    /// their size.
    pub(crate) fn give_back(&mut self, storage: &mut Vec<u8>) {
        if self.is_empty() && storage.is_empty() {
            std::mem::swap(&mut self.storage, storage);
            (self.start, self.end) = (0, 0);
            return;
        }
        let unread = self.bytes().to_owned();
        (self.start, self.end) = (0, unread.len());
        let borrowed = std::mem::replace(&mut self.storage, unread);
        if borrowed.len() > storage.len() {
            *storage = borrowed;
        }
    }

    fn move_to_front(&mut self) {
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Appends the bytes that have arrived, up to `size` in all.
    fn fill_more(&mut self, stream: &mut dyn Stream, size: usize) -> io::Result<()> {
        if stream.readable_now()? {
            self.storage.resize(size, 0);
            self.end += read_uninterrupted(stream, &mut self.storage[self.end..])?;
        }
        Ok(())
    }

    /// Reads into the stack first, so that an idle connection with short messages owns a small heap
    /// buffer.
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

/// Reads once; tries again after a signal.
pub(crate) fn read_uninterrupted(stream: &mut dyn Stream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
