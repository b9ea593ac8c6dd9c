//! The end of a child: a descriptor that becomes readable then, and its status.

use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, WaitOptions, pidfd_open, waitpid};

/// The descriptor of a child that nobody has reaped: a pidfd, or on a system without pidfds the
/// read end of a pipe, to which a thread writes that waits for the child.
///
/// # Errors
///
/// If the system has no descriptor, or no thread.
pub(super) fn process_end(child: Pid) -> io::Result<OwnedFd> {
    match pidfd_open(id_of(child)?, PidfdFlags::empty()) {
        // `EPERM`: a sandbox that does not know the call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => by_a_thread(child),
        opened => Ok(opened?),
    }
}

/// Waits for the end of a child, and reaps it.
///
/// # Errors
///
/// [`ECHILD`](Errno::ECHILD) if this process ignores `SIGCHLD`, and the system has reaped the
/// child.
pub(super) fn reap(child: Pid) -> io::Result<ExitStatus> {
    loop {
        match waitpid(Some(id_of(child)?), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The id in the other library's type.
fn id_of(child: Pid) -> io::Result<rustix::process::Pid> {
    rustix::process::Pid::from_raw(child.as_raw()).ok_or_else(|| ErrorKind::InvalidInput.into())
}

fn by_a_thread(child: Pid) -> io::Result<OwnedFd> {
    let (end, mut ended) = io::pipe()?;
    let wait = move || {
        // `WNOWAIT` does not reap the child, so that its id stays its own.
        let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(child), how) == Err(Errno::EINTR) {}
        // An error is ignored: the read end is closed.
        let _ = ended.write_all(b"!");
    };
    thread::Builder::new().name("exec".to_owned()).spawn(wait)?;
    Ok(end.into())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::{Command, Stdio};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable(end: &OwnedFd, timeout: PollTimeout) -> bool {
        let mut fds = [PollFd::new(end.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).unwrap() > 0
    }

    #[test]
    fn the_descriptor_is_readable_once_the_child_has_ended_with_a_pidfd_and_without() {
        for open in [process_end as fn(Pid) -> io::Result<OwnedFd>, by_a_thread] {
            let mut cat = Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
            let id = Pid::from_raw(child.id().try_into().unwrap());
            let end = open(id).unwrap();
            assert!(!is_readable(&end, PollTimeout::ZERO));
            drop(child.stdin.take());
            assert!(is_readable(&end, PollTimeout::from(30_000_u16)));
            assert!(child.wait().unwrap().success());
        }
    }
}
