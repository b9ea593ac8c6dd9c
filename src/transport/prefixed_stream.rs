//! A stream whose first bytes have been read already.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::transport::stream::Stream;
use crate::values::address::Address;

/// Reads return the bytes of the prefix, then those of the inner stream.
#[derive(Debug)]
pub(crate) struct PrefixedStream {
    prefix: Vec<u8>,
    /// The number of bytes of the prefix that have been read.
    position: usize,
    /// The failure after the prefix.
    failure: Option<io::Error>,
    inner: Box<dyn Stream>,
}

impl PrefixedStream {
    pub(crate) fn new(prefix: Vec<u8>, failure: Option<io::Error>, inner: Box<dyn Stream>) -> Self {
        Self {
            prefix,
            position: 0,
            failure,
            inner,
        }
    }

    fn has_prefix(&self) -> bool {
        self.position < self.prefix.len()
    }
}

impl Read for PrefixedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_prefix() {
            return match self.failure.take() {
                Some(failure) => Err(failure),
                None => self.inner.read(buffer),
            };
        }
        let count = (&self.prefix[self.position..]).read(buffer)?;
        self.position += count;
        if !self.has_prefix() {
            self.prefix = Vec::new();
            self.position = 0;
        }
        Ok(count)
    }
}

impl Write for PrefixedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.inner.write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Stream for PrefixedStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        Ok(self.has_prefix() || self.failure.is_some() || self.inner.readable_now()?)
    }

    fn wait_readable(&mut self, deadline: Option<Instant>) -> io::Result<bool> {
        Ok(self.has_prefix() || self.failure.is_some() || self.inner.wait_readable(deadline)?)
    }

    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.has_prefix() || self.failure.is_some() {
            self.read(buffer)
        } else {
            self.inner.read_now(buffer)
        }
    }

    fn may_have_more(&self) -> bool {
        self.has_prefix() || self.failure.is_some() || self.inner.may_have_more()
    }

    fn send_file(&mut self, file: &File, offset: u64, count: usize) -> io::Result<Option<usize>> {
        self.inner.send_file(file, offset, count)
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
    }

    fn set_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.set_timeout(timeout)
    }

    fn set_deadline(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.set_deadline(deadline)
    }

    fn set_nodelay(&mut self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.inner.readiness()
    }

    fn local_address(&self) -> Option<Address> {
        self.inner.local_address()
    }

    /// Returns the socket, once the prefix has been read. Before that, the stream has bytes that
    /// the socket does not have.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        if self.has_prefix() {
            None
        } else {
            self.inner.socket()
        }
    }
}
