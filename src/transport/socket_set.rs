//! The sockets of a server that listens on several addresses.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use nix::poll::{PollFd, PollFlags};

use crate::support::deadline::Deadline;
use crate::transport::get_request_error::GetRequestError;
use crate::transport::poll::poll_until;
use crate::transport::sys;

/// The open sockets of a server: for most servers there is one.
#[derive(Debug)]
pub(crate) enum Sockets {
    One(Arc<OwnedFd>),
    Several(Arc<SocketSet>),
}

impl Sockets {
    pub(crate) fn iter(&self) -> slice::Iter<'_, Arc<OwnedFd>> {
        match self {
            Self::One(socket) => slice::from_ref(socket).iter(),
            Self::Several(set) => set.sockets.iter(),
        }
    }
}

/// Several sockets, and one descriptor that is readable when one of the sockets is. So the loop
/// waits on one descriptor, however many sockets there are.
#[derive(Debug)]
pub(crate) struct SocketSet {
    sockets: Vec<Arc<OwnedFd>>,
    readable: Arc<OwnedFd>,
    /// The index of the socket that is tried first. Relaxed: the order of clients of different
    /// addresses is not defined.
    turn: AtomicUsize,
}

impl SocketSet {
    pub(crate) fn new(sockets: Vec<Arc<OwnedFd>>) -> io::Result<Self> {
        let readable = sys::readable_with_any(sockets.iter().map(|socket| socket.as_fd()))?;
        Ok(Self {
            sockets,
            readable: Arc::new(readable),
            turn: AtomicUsize::new(0),
        })
    }

    pub(crate) fn sockets(&self) -> &[Arc<OwnedFd>] {
        &self.sockets
    }

    /// Returns the descriptor that is readable when one of the sockets is.
    pub(crate) fn readable(&self) -> &Arc<OwnedFd> {
        &self.readable
    }

    /// Takes the result of the first socket that has one. The next call begins with the socket
    /// after it, so that a busy address does not starve the others.
    pub(crate) fn in_turn<T>(
        &self,
        take: impl Fn(&Arc<OwnedFd>) -> Result<T, GetRequestError>,
    ) -> Result<T, GetRequestError> {
        let count = self.sockets.len();
        let first = self.turn.load(Relaxed);
        for index in (first..first + count).map(|index| index % count) {
            match take(&self.sockets[index]) {
                Err(GetRequestError::Empty) => {}
                taken => {
                    self.turn.store((index + 1) % count, Relaxed);
                    return taken;
                }
            }
        }
        Err(GetRequestError::Empty)
    }
}

/// Returns whether one of `sockets`, which have nothing to receive, has been shut down. Removes the
/// pending errors of the others. A shutdown and an error both keep a socket readable. The loop
/// waits on another descriptor, and would spin.
pub(crate) fn any_is_shut_down<'a>(sockets: impl Iterator<Item = &'a OwnedFd>) -> io::Result<bool> {
    let mut fds: Vec<_> = sockets
        .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN | sys::HALF_CLOSED))
        .collect();
    poll_until(&mut fds, Deadline::after(Some(std::time::Duration::ZERO)))?;
    // `nix` has no name for `POLLRDHUP`, and returns `None` for events that contain it.
    let is_shut_down = |fd: &PollFd<'_>| {
        let events = fd.revents();
        events.is_none_or(|events| events.contains(PollFlags::POLLHUP))
    };
    let has_error = |fd: &&PollFd<'_>| {
        let events = fd.revents();
        events.is_some_and(|events| events.contains(PollFlags::POLLERR))
    };
    for fd in fds.iter().filter(has_error) {
        sys::take_errors(fd.as_fd());
    }
    Ok(fds.iter().any(is_shut_down))
}
