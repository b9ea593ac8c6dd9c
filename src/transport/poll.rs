//! Waiting until a descriptor can be read or written.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::support::deadline::Deadline;

/// Whether a read of `socket` would return bytes, the end of file or an error at once.
pub(crate) fn readable_now(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
    loop {
        match nix::poll::poll(&mut fds, PollTimeout::ZERO) {
            Err(Errno::EINTR) => {}
            count => return Ok(count? > 0),
        }
    }
}

/// Waits until a read of `socket` would return bytes, the end of file or an error. Returns false at
/// the deadline.
pub(crate) fn readable_by(socket: BorrowedFd<'_>, deadline: Deadline) -> io::Result<bool> {
    poll_until(&mut [PollFd::new(socket, PollFlags::POLLIN)], deadline)
}

/// Waits until a write to `socket` would take bytes or return an error. Returns false at the
/// deadline.
pub(crate) fn writable_by(socket: BorrowedFd<'_>, deadline: Deadline) -> io::Result<bool> {
    poll_until(&mut [PollFd::new(socket, PollFlags::POLLOUT)], deadline)
}

/// Waits for an event on one of `fds`. Returns false at the deadline. A signal does not end the
/// wait; a signal handler ends it through one of `fds`.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Deadline) -> io::Result<bool> {
    loop {
        match nix::poll::poll(fds, poll_timeout(deadline)) {
            Ok(0) if !deadline.is_over() => {}
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The time until the deadline in whole milliseconds, rounded up so that the loop of calls does not
/// spin in the last millisecond.
pub(crate) fn poll_timeout(deadline: Deadline) -> PollTimeout {
    let Some(left) = deadline.left() else {
        return PollTimeout::NONE;
    };
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}
