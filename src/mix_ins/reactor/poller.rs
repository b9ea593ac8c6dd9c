//! The wait for all connections of a reactor: epoll(7).

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::support::deadline::Deadline;
use crate::transport::poll::poll_timeout;

/// The most events of one wait.
pub(super) const MOST_EVENTS: usize = 256;

/// The token of the descriptor that wakes a wait.
pub(super) const WAKE: u64 = u64::MAX;
/// The token of the listening socket.
pub(super) const LISTENER: u64 = u64::MAX - 1;

/// The descriptors that a reactor waits for.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: Epoll,
    wake: EventFd,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_flags(flags)?;
        // Edge-triggered: every write wakes one wait, and no thread has to read.
        let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, WAKE);
        epoll.add(&wake, event)?;
        Ok(Self { epoll, wake })
    }

    /// Registers a connection until its end. Edge-triggered: bytes that have arrived already are
    /// reported at once, and later every arrival. The close of the descriptor ends the
    /// registration.
    pub fn register(&self, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        Ok(self.epoll.add(descriptor, EpollEvent::new(flags, token))?)
    }

    /// Reports the listening socket from now on, as long as a client waits there.
    pub fn watch_listener(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
        match self.epoll.modify(socket, &mut event) {
            Err(Errno::ENOENT) => Ok(self.epoll.add(socket, event)?),
            watched => Ok(watched?),
        }
    }

    /// Stops reporting the listening socket.
    pub fn ignore_listener(&self, socket: BorrowedFd<'_>) {
        // The call fails if the socket is not registered.
        let _ = self.epoll.delete(socket);
    }

    /// Ends one wait.
    pub fn wake(&self) {
        // The write fails if the counter is at its maximum. In this case the wait has been woken.
        let _ = self.wake.write(1);
    }

    /// Waits for events, at most until the deadline, and returns their number. A signal ends the
    /// wait.
    pub fn wait(&self, events: &mut [EpollEvent], deadline: Deadline) -> usize {
        // Only a signal makes the call fail: the descriptors are open, and the buffer is valid.
        self.epoll.wait(events, poll_timeout(deadline)).unwrap_or(0)
    }

    /// Returns the number of present events, without a wait.
    pub fn ask(&self, events: &mut [EpollEvent]) -> usize {
        self.epoll.wait(events, EpollTimeout::ZERO).unwrap_or(0)
    }
}
