//! The ends of forked children: what wakes the loop when a child has ended.

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::transport::waker::Waker;

#[cfg(any(target_os = "android", target_os = "linux"))]
pub(super) use by_descriptor::{Child, ChildEnds};
#[cfg(not(any(target_os = "android", target_os = "linux")))]
pub(super) use by_signal::{Child, ChildEnds};

/// Each child has a descriptor (pidfd), which is readable once the child has ended. The program's
/// action for `SIGCHLD` and its signal mask have no influence, and are not changed.
#[cfg(any(target_os = "android", target_os = "linux"))]
mod by_descriptor {
    use std::os::fd::{AsFd, OwnedFd};

    use nix::errno::Errno;
    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

    use super::{Pid, Signal, Waker, io, kill};
    use crate::transport::sys;

    /// The descriptors of the running children, one of which wakes the loop.
    #[derive(Debug)]
    pub(in crate::mix_ins::forking) struct ChildEnds(Epoll);

    impl ChildEnds {
        /// Lets the end of a child wake the loop.
        pub fn watch(waker: &Waker) -> io::Result<Self> {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            waker.wait_for_events_too(epoll.0.try_clone()?);
            Ok(Self(epoll))
        }

        /// Watches a child that has been forked. The second value is false if the end of the child
        /// does not wake the loop, because the system has no pidfd or no further descriptor.
        pub fn add(&self, pid: Pid) -> (Child, bool) {
            match self.try_add(pid) {
                Ok(descriptor) => (Child(pid, Some(descriptor)), true),
                // The child has ended, and the system has collected it, since the program ignores
                // `SIGCHLD`. The loop calls this method, and looks for ended children next.
                Err(Errno::ESRCH) => (Child(pid, None), true),
                Err(_) => (Child(pid, None), false),
            }
        }

        fn try_add(&self, pid: Pid) -> nix::Result<OwnedFd> {
            let descriptor = sys::pidfd_open(pid)?;
            // Edge-triggered: one event is enough, and the child may be collected later.
            let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
            self.0.add(&descriptor, event)?;
            Ok(descriptor)
        }

        /// Stops watching a child that has ended. The close of its descriptor is not enough,
        /// because children that were forked meanwhile have copies of the descriptor.
        pub fn remove(&self, child: &Child) {
            if let Some(descriptor) = &child.1 {
                let _ = self.0.delete(descriptor.as_fd());
            }
        }
    }

    /// A child that has not been collected.
    #[derive(Debug)]
    pub(in crate::mix_ins::forking) struct Child(Pid, Option<OwnedFd>);

    impl Child {
        /// Sends a signal to the child, which may have ended.
        pub fn signal(&self, signal: Signal) {
            // The signal goes to the descriptor, since another process may have the number: if the
            // program ignores `SIGCHLD`, the system collects the children.
            let _ = match &self.1 {
                Some(descriptor) => sys::pidfd_send_signal(descriptor.as_fd(), signal),
                None => kill(self.0, signal),
            };
        }
    }
}

/// `SIGCHLD` writes to the waker.
#[cfg(not(any(target_os = "android", target_os = "linux")))]
mod by_signal {
    use signal_hook::SigId;
    use signal_hook::consts::SIGCHLD;
    use signal_hook::low_level;

    use super::{Pid, Signal, Waker, io, kill};

    /// The registration of `SIGCHLD`, which wakes the loop until this value is dropped.
    #[derive(Debug)]
    pub(in crate::mix_ins::forking) struct ChildEnds(SigId);

    impl ChildEnds {
        /// Lets the end of a child wake the loop.
        pub fn watch(waker: &Waker) -> io::Result<Self> {
            low_level::pipe::register(SIGCHLD, waker.write_end()?).map(Self)
        }

        /// Watches a child that has been forked. The second value is true, since the end of the
        /// child wakes the loop.
        pub fn add(&self, pid: Pid) -> (Child, bool) {
            (Child(pid), true)
        }

        /// Stops watching a child that has ended.
        pub fn remove(&self, _: &Child) {}
    }

    impl Drop for ChildEnds {
        fn drop(&mut self) {
            low_level::unregister(self.0);
        }
    }

    /// A child that has not been collected.
    #[derive(Debug)]
    pub(in crate::mix_ins::forking) struct Child(Pid);

    impl Child {
        /// Sends a signal to the child, which may have ended. No other process has its number as
        /// long as the child is not collected.
        pub fn signal(&self, signal: Signal) {
            let _ = kill(self.0, signal);
        }
    }
}
