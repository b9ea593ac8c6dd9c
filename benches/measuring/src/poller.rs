//! The wait for many clients.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

/// Returns the clients that can be read.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Poller {
    /// Without clients.
    ///
    /// # Errors
    ///
    /// If the system has no epoll left.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: vec![EpollEvent::empty(); 1024],
        })
    }

    /// Adds a client, until the client is closed.
    ///
    /// # Errors
    ///
    /// If the client cannot be polled.
    pub fn add(&self, client: &impl AsFd, index: usize) -> io::Result<()> {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        Ok(self.epoll.add(client, event)?)
    }

    /// Adds clients by their places.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_all(&self, clients: &[TcpStream]) -> io::Result<()> {
        let mut clients = clients.iter().enumerate();
        clients.try_for_each(|(index, client)| self.add(client, index))
    }

    /// Waits, and returns the indices of those that are ready: none after `longest`, in
    /// milliseconds.
    ///
    /// # Errors
    ///
    /// If the wait fails.
    pub fn wait(&mut self, longest: u16) -> io::Result<impl Iterator<Item = usize>> {
        let count = self.epoll.wait(&mut self.events, longest)?;
        let index = |event: &EpollEvent| event.data() as usize;
        Ok(self.events[..count].iter().map(index))
    }
}
