//! The datagrams that the kernel has dropped before the server could receive them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock, Weak};

use crate::support::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::transport::sys;

/// The count of dropped datagrams of a server's sockets. The kernel counts, so a datagram costs the
/// server nothing, and each look costs one system call for each socket.
#[derive(Debug, Default)]
pub(crate) struct DroppedDatagrams {
    sockets: OnceLock<Vec<Weak<OwnedFd>>>,
    /// The count at the last look, for a server whose sockets are closed. Relaxed: a counter orders
    /// nothing.
    last: AtomicU64,
}

impl DroppedDatagrams {
    /// Counts the datagrams of these sockets from now on. Only the first call has an effect.
    pub(crate) fn watch<'a>(&self, sockets: impl Iterator<Item = &'a Arc<OwnedFd>>) {
        let _ = self.sockets.set(sockets.map(Arc::downgrade).collect());
    }

    /// Returns the number of dropped datagrams so far.
    pub(crate) fn count(&self) -> u64 {
        let sockets = self.sockets.get().into_iter().flatten();
        let open = sockets.filter_map(Weak::upgrade);
        let counts = open.map(|socket| u64::from(sys::dropped_datagrams(socket.as_fd())));
        let now = counts.sum::<u64>();
        now.max(self.last.fetch_max(now, Relaxed))
    }
}
