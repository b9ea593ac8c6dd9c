//! The wish of a signal that the loop loads files again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socketserver::ServersHandle;

/// Whether files are to be loaded again. A clone is the same wish.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<AtomicBool>);

impl Reload {
    /// Has one loop of the servers load the files again, which all of them share.
    pub fn request(&self, servers: &ServersHandle) {
        // Relaxed: the files are read after the flag, and the wake orders the two.
        self.0.store(true, Relaxed);
        for server in servers.each() {
            // Wakes the loop, which then calls `service_actions`.
            server.set_service_interval(server.service_interval());
        }
    }

    /// Whether the files are to be loaded, which is asked once for each request.
    #[cfg(feature = "tls")]
    pub fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}
