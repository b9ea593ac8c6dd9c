//! Whether a socket can be read or written now, or becomes so in time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

/// Whether reading `socket` would give bytes, end of file or an error at once.
pub(crate) fn readable_now(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::POLLIN)];
    poll_until(&mut fds, Some(Instant::now()))
}

/// Waits until writing to `socket` would take bytes or give an error; false if it would not by
/// `deadline`.
pub(crate) fn writable_by(socket: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::POLLOUT)];
    poll_until(&mut fds, Some(deadline))
}

/// Waits until something happens to one of `fds`; false if nothing has by `deadline`. Signals do
/// not end the wait: their handlers have run, and what they said is said through one of `fds`.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        match nix::poll::poll(fds, poll_timeout(deadline)) {
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() < deadline) => {}
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The time until `deadline` in whole milliseconds, rounded up so that the wait does not spin at
/// its end.
fn poll_timeout(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let milliseconds = left.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}
