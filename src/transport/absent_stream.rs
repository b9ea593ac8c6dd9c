//! The placeholder for a stream that a layer is replacing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::transport::stream::Stream;

/// The stream of a request while a layer makes another stream of the request's own. If the layer
/// panics, the placeholder stays, and every operation fails.
#[derive(Debug)]
pub(crate) struct AbsentStream;

fn absent<T>() -> io::Result<T> {
    Err(io::Error::new(
        ErrorKind::NotConnected,
        "the connection was lost while a layer replaced its stream",
    ))
}

impl Read for AbsentStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        absent()
    }
}

impl Write for AbsentStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        absent()
    }

    fn flush(&mut self) -> io::Result<()> {
        absent()
    }
}

impl Stream for AbsentStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        absent()
    }

    fn shutdown(&mut self, _: Shutdown) -> io::Result<()> {
        absent()
    }

    fn set_timeout(&mut self, _: Option<Duration>) -> io::Result<()> {
        absent()
    }

    fn set_deadline(&mut self, _: Option<Instant>) -> io::Result<()> {
        absent()
    }

    fn set_nodelay(&mut self, _: bool) -> io::Result<()> {
        absent()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
