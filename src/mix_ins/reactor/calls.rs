//! The turns of a member, as the sentinel sees them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use crate::support::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts the turns of one member, and shows the state of its thread.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Odd during a turn. Only the member writes the number. Relaxed: the sentinel may see a turn
    /// late.
    count: AtomicU64,
    /// The state of the thread: `/proc/self/task/…/stat`.
    status: OnceLock<File>,
}

impl Calls {
    /// Notes the beginning or the end of a turn.
    pub fn begin_or_end(&self) {
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
    }

    /// Returns the number of beginnings and ends.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Returns whether a turn is under way at this count.
    pub fn is_in_call(count: u64) -> bool {
        count % 2 == 1
    }

    /// Returns whether the thread neither runs nor waits for a processor; `None` if the state is
    /// unknown.
    pub fn is_blocked(&self) -> Option<bool> {
        let mut line = [0; 128];
        let length = self.status.get()?.read_at(&mut line, 0).ok()?;
        // The state follows the name, which is in parentheses, and may contain parentheses itself.
        let name_end = line[..length].iter().rposition(|&byte| byte == b')')?;
        Some(*line[..length].get(name_end + 2)? != b'R')
    }

    /// Opens the file with the state of the calling thread.
    pub fn open_status(&self) {
        let thread = nix::unistd::gettid();
        if let Ok(file) = File::open(format!("/proc/self/task/{thread}/stat")) {
            let _ = self.status.set(file);
        }
    }
}
