//! The descriptors that a forked child must not keep: the listening sockets and wakers of every
//! server in the program.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, RawFd};

use socket2::{SockRef, Type};

use crate::transport::per_process::PerProcess;
use crate::transport::socket_address::from_sockaddr;
use crate::values::address::Address;

/// The type is the standard library's, in model checks too, since the value belongs to the program
/// and not to a model.
type Set = std::sync::Mutex<BTreeSet<RawFd>>;

static OPEN: PerProcess<Set> = PerProcess::new();

/// The registered descriptors of this process, under their lock.
///
/// A descriptor is opened and registered, and unregistered and closed, under the lock. A forking
/// server holds the lock over its fork. So its child knows all such descriptors that it has.
pub(crate) struct Descriptors(std::sync::MutexGuard<'static, BTreeSet<RawFd>>);

impl Descriptors {
    pub(crate) fn hold() -> Self {
        let open = OPEN.get_or_init(|parent| {
            // `try_lock`, because a thread that held the lock at the fork does not exist in this
            // process.
            let inherited = parent.and_then(|open| Some(open.try_lock().ok()?.clone()));
            Set::new(inherited.unwrap_or_default())
        });
        Self(
            open.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    pub(crate) fn register(&mut self, descriptor: RawFd) {
        self.0.insert(descriptor);
    }

    pub(crate) fn unregister(&mut self, descriptor: RawFd) {
        self.0.remove(&descriptor);
    }

    /// Returns the datagram sockets that are bound to one of these addresses.
    #[allow(unsafe_code)]
    pub(crate) fn datagram_sockets(&self, addresses: &[Address]) -> Vec<RawFd> {
        let is_one = |descriptor: &RawFd| {
            // SAFETY: a registered descriptor is open, and is unregistered under the lock, which
            // this value holds, before it is closed.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
            let socket = SockRef::from(&descriptor);
            let address = socket.local_addr().map(|address| from_sockaddr(&address));
            socket.r#type().ok() == Some(Type::DGRAM)
                && address.is_ok_and(|address| addresses.contains(&address))
        };
        self.0.iter().copied().filter(is_one).collect()
    }

    /// Closes a forked child's copies, except those in `kept`. The parent's descriptors stay open.
    pub(crate) fn close_in_child(&self, kept: &[RawFd]) {
        for &descriptor in self.0.iter().filter(|it| !kept.contains(it)) {
            // No descriptor is closed twice: the owners of the descriptors are never dropped, since
            // the child ends with `_exit`.
            let _ = nix::unistd::close(descriptor);
        }
    }
}
