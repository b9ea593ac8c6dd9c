//! The reload of files, which SIGHUP requests and a loop carries out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use socketserver::ServersHandle;

use crate::fork_gate;
#[cfg(feature = "systemd")]
use crate::service_manager::ServiceManager;
use crate::watched::Watched;

/// Whether files have to be loaded again. A clone is the same request.
#[derive(Debug, Clone)]
pub struct Reload {
    is_wanted: Arc<AtomicBool>,
    files: Arc<[Watched]>,
    #[cfg(feature = "systemd")]
    manager: ServiceManager,
}

impl Reload {
    /// No request yet. `manager` learns when the files are being loaded.
    pub fn new(files: &[Watched], #[cfg(feature = "systemd")] manager: ServiceManager) -> Self {
        Self {
            is_wanted: Arc::default(),
            files: files.into(),
            #[cfg(feature = "systemd")]
            manager,
        }
    }

    /// Makes one loop of the servers load the files again. All loops share the files.
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

    /// Loads the files if that was requested, once for each request. The loops call this function:
    /// then no other thread holds a lock, such as that of the log, when a loop forks.
    pub fn act(&self) {
        if !self.is_wanted.swap(false, Relaxed) {
            return;
        }
        // A child that another loop forked now would find the files locked for ever.
        let _no_fork = fork_gate::hold();
        let mut has_failed = false;
        for files in self.files.iter() {
            match (files.load)() {
                Ok(()) => log::info!("{}", files.loaded),
                Err(error) => {
                    has_failed = true;
                    log::error!("{error}; {}", files.kept);
                }
            }
        }
        #[cfg(feature = "systemd")]
        self.manager.reloaded(match has_failed {
            false => "serving",
            true => "serving, but the last reload failed",
        });
        #[cfg(not(feature = "systemd"))]
        let _ = has_failed;
    }
}
