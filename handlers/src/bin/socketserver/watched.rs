//! Files that SIGHUP loads again.

use std::fmt;
use std::sync::Arc;

/// Files that can be loaded again.
#[derive(Clone)]
pub struct Watched {
    /// The line of the log after a success.
    pub loaded: &'static str,
    /// What holds after a failure, for the log.
    pub kept: &'static str,
    /// Loads the files, or fails with the reason and leaves what was loaded before.
    pub load: Arc<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.loaded)
    }
}
