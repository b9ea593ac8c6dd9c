//! A reader that bounds the memory of its caller.

use std::io::{self, Read};

/// The largest buffer that a caller may have ready before anything has arrived, in bytes.
const FIRST: usize = 16 << 10;

/// Reads `inner`, and panics if the caller offers more memory than the bytes that have arrived
/// justify, whatever length they announce.
#[derive(Debug)]
pub struct Metered<R> {
    inner: R,
    arrived: usize,
}

impl<R> Metered<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, arrived: 0 }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let offered = buffer.len();
        let arrived = self.arrived;
        assert!(
            offered <= FIRST + 4 * arrived,
            "memory for {offered} bytes after {arrived}"
        );
        let count = self.inner.read(buffer)?;
        self.arrived += count;
        Ok(count)
    }
}
