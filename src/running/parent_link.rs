//! The connection of a forked child with its parent.

use std::fmt;
use std::sync::Arc;

use crate::running::ended::{Ended, EndedHandshake};

/// Sends the parent reports of what happens in a forked child. The methods do not wait for the
/// parent.
pub(crate) trait ParentLink: fmt::Debug + Send + Sync {
    /// Reports the end of the child's request.
    fn report(&self, ended: &Ended);

    /// Reports a handshake of the child's request.
    fn report_handshake(&self, handshake: &EndedHandshake);
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

    /// Reports the end of this child's request. If the child has forked another process, that
    /// process reports nothing, because the parent does not know it.
    pub(crate) fn report(&self, ended: &Ended) {
        if self.pid == std::process::id() {
            self.parent.report(ended);
        }
    }

    /// Reports a handshake of this child's request, as [`report`](Self::report) reports its end.
    pub(crate) fn report_handshake(&self, handshake: &EndedHandshake) {
        if self.pid == std::process::id() {
            self.parent.report_handshake(handshake);
        }
    }
}
