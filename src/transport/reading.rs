//! The result of the last read of a connection, with regard to bytes that are still unread.

use std::io::{self, ErrorKind};

use crate::support::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// The result of the last read or write of a connection, as far as the close depends on it.
///
/// Every access is `Relaxed`: the thread that serves the request writes and reads the value, and
/// hands it on together with the request.
#[derive(Debug)]
pub(crate) struct Reading(AtomicU8);

/// Nothing was read, or the last read filled its buffer: more bytes may be unread.
const UNKNOWN: u8 = 0;
/// The last read did not fill its buffer: it has returned all that had arrived.
const EMPTY: u8 = 1;
/// The client has ended its side, or the connection is broken.
const ENDED: u8 = 2;

impl Reading {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(UNKNOWN))
    }

    /// Notes the result of a read into a buffer of `size` bytes.
    pub(crate) fn note_read(&self, read: &io::Result<usize>, size: usize) {
        match read {
            _ if size == 0 => {}
            Ok(0) => self.0.store(ENDED, Relaxed),
            Ok(count) if *count < size => self.0.store(EMPTY, Relaxed),
            Ok(_) => self.0.store(UNKNOWN, Relaxed),
            Err(error) => self.note_error(error),
        }
    }

    /// Notes the error of a read or write.
    pub(crate) fn note_error(&self, error: &io::Error) {
        // All other errors are the ends of a timeout or of a deadline.
        let is_of_connection = error.raw_os_error().is_some();
        if is_of_connection
            && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        {
            self.0.store(ENDED, Relaxed);
        }
    }

    /// Whether the client has ended its side, or the connection is broken.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.load(Relaxed) == ENDED
    }

    /// Whether the last read has returned all bytes that had arrived.
    pub(crate) fn was_empty(&self) -> bool {
        self.0.load(Relaxed) == EMPTY
    }
}
