//! How far a command may go.

use std::time::Duration;

/// The bounds of one command: what goes beyond either is ended, and the client is told.
///
/// The tutorial's shell has none, so a command that never ends holds its connection for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long it may run.
    pub timeout: Duration,
    /// How many bytes it may write to its two outputs together. That is also the most memory that
    /// they take.
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
