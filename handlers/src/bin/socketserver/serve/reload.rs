//! The wish of a signal that the loop loads files again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socketserver::ServerHandle;

/// Whether files are to be loaded again. A clone is the same wish.
#[derive(Debug, Clone, Default)]
pub struct Reload(Arc<AtomicBool>);

impl Reload {
    /// Has the loop of the server load its files again.
    pub fn request(&self, server: &ServerHandle) {
        // Relaxed: the files are read after the flag, and the wake orders the two.
        self.0.store(true, Relaxed);
        // Wakes the loop, which then calls `service_actions`.
        server.set_service_interval(server.service_interval());
    }

    /// Whether the files are to be loaded, which is asked once for each request.
    #[cfg(feature = "tls")]
    pub fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}
