//! The placeholder for a stream that a layer is replacing, or that is given away.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use crate::transport::stream::Stream;

/// The stream of a request that has none: every operation fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AbsentStream {
    /// A layer makes another stream of the request's stream. If the layer panics, this placeholder
    /// stays.
    Replaced,
    /// The handler has given the connection away.
    Detached,
}

impl AbsentStream {
    fn fail<T>(self) -> io::Result<T> {
        let reason = match self {
            Self::Replaced => "the connection was lost while a layer replaced its stream",
            Self::Detached => "the handler has detached the connection from its request",
        };
        Err(io::Error::new(ErrorKind::NotConnected, reason))
    }
}

impl Read for AbsentStream {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.fail()
    }
}

impl Write for AbsentStream {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        self.fail()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.fail()
    }
}

impl Stream for AbsentStream {
    fn readable_now(&mut self) -> io::Result<bool> {
        self.fail()
    }

    fn shutdown(&mut self, _: Shutdown) -> io::Result<()> {
        self.fail()
    }

    fn set_timeout(&mut self, _: Option<Duration>) -> io::Result<()> {
        self.fail()
    }

    fn set_deadline(&mut self, _: Option<Instant>) -> io::Result<()> {
        self.fail()
    }

    fn set_nodelay(&mut self, _: bool) -> io::Result<()> {
        self.fail()
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
