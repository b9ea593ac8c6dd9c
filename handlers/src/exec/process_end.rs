//! A descriptor that becomes readable when a child has ended.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::thread;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

/// The descriptor of a child that nobody has reaped: a pidfd, or on a system without pidfds the
/// read end of a pipe, to which a thread writes that waits for the child.
///
/// # Errors
///
/// If the system has no descriptor, or no thread.
pub(super) fn process_end(child: &Child) -> io::Result<OwnedFd> {
    match pidfd_open(rustix::process::Pid::from_child(child), PidfdFlags::empty()) {
        // `EPERM`: a sandbox that does not know the call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => by_a_thread(pid_of(child)),
        opened => Ok(opened?),
    }
}

/// The id of a child, which leads a process group of the same id.
pub(super) fn pid_of(child: &Child) -> Pid {
    let id = child.id().try_into();
    Pid::from_raw(id.expect("a process id is a positive i32"))
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
        for open in [process_end as fn(&Child) -> io::Result<OwnedFd>, |child| {
            by_a_thread(pid_of(child))
        }] {
            let mut cat = Command::new("cat");
            let mut child = cat.stdin(Stdio::piped()).spawn().unwrap();
            let end = open(&child).unwrap();
            assert!(!is_readable(&end, PollTimeout::ZERO));
            drop(child.stdin.take());
            assert!(is_readable(&end, PollTimeout::from(30_000_u16)));
            assert!(child.wait().unwrap().success());
        }
    }
}
