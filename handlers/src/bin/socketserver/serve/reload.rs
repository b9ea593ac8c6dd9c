//! The wish of a signal that the loop loads files again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socketserver::ServersHandle;

#[cfg(feature = "systemd")]
use crate::service_manager::ServiceManager;

/// Whether files are to be loaded again. A clone is the same wish.
#[derive(Debug, Clone, Default)]
pub struct Reload {
    is_wanted: Arc<AtomicBool>,
    #[cfg(feature = "systemd")]
    manager: ServiceManager,
}

impl Reload {
    /// No wish yet. `manager` learns when the files are being loaded.
    #[cfg(all(feature = "systemd", feature = "tls"))]
    pub fn new(manager: ServiceManager) -> Self {
        Self {
            manager,
            ..Self::default()
        }
    }

    /// Has one loop of the servers load the files again, which all of them share.
    pub fn request(&self, servers: &ServersHandle) {
        #[cfg(feature = "systemd")]
        self.manager.reloading();
        // Relaxed: the files are read after the flag, and the wake orders the two.
        self.is_wanted.store(true, Relaxed);
        for server in servers.each() {
            // Wakes the loop, which then calls `service_actions`.
            server.set_service_interval(server.service_interval());
        }
    }

    /// Whether the files are to be loaded, which is asked once for each request.
    #[cfg(feature = "tls")]
    pub fn take(&self) -> bool {
        self.is_wanted.swap(false, Relaxed)
    }

    /// Reports that the files were loaded, or are broken, in a few words.
    #[cfg(all(feature = "systemd", feature = "tls"))]
    pub fn done(&self, status: &str) {
        self.manager.reloaded(status);
    }
}
