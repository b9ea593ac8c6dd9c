//! How a forked child reaches its parent.

use std::fmt;
use std::sync::Arc;

use crate::running::ended::Ended;

/// How a forked child reports the end of its request to the parent.
pub(crate) trait ParentLink: fmt::Debug + Send + Sync {
    /// Sends the report, and never waits for the parent.
    fn report(&self, ended: &Ended);
}

/// What a process is that [`ForkingMixIn`](crate::ForkingMixIn) has forked.
#[derive(Debug)]
pub(crate) struct ForkedChild {
    pid: u32,
    parent: Arc<dyn ParentLink>,
}

impl ForkedChild {
    pub(crate) fn new(parent: Arc<dyn ParentLink>) -> Self {
        Self {
            pid: std::process::id(),
            parent,
        }
    }

    /// Reports the end of this child's request. A process that the child has forked in its turn
    /// reports nothing: the parent does not know that process.
    pub(crate) fn report(&self, ended: &Ended) {
        if self.pid == std::process::id() {
            self.parent.report(ended);
        }
    }
}
