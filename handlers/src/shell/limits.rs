//! The limits of a command.

use std::time::Duration;

/// The limits of one command. A command that exceeds a limit is ended, and its answer has the
/// reason.
///
/// The tutorial's shell has no limits, so a command that never ends holds its connection for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the command may run.
    pub timeout: Duration,
    /// How many bytes the command may write to its two outputs together. The outputs never take
    /// more memory than that.
    pub output: usize,
}

impl Default for Limits {
    /// 30 seconds, and 16 MiB.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            output: 16 << 20,
        }
    }
}
