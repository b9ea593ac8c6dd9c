//! The way from a forked child to its parent.

use std::fmt;
use std::sync::Arc;

use crate::running::ended::Ended;

/// Reports the end of a forked child's request to the parent.
pub(crate) trait ParentLink: fmt::Debug + Send + Sync {
    /// Sends the report without waiting for the parent.
    fn report(&self, ended: &Ended);
}

/// The identity of a process that [`ForkingMixIn`](crate::ForkingMixIn) has forked.
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
