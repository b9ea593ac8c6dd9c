//! The way from a forked child to its parent.

use std::fmt;
use std::sync::Arc;

use crate::running::ended::{Ended, EndedHandshake};

/// Reports what a forked child has done to the parent. The methods send a report without waiting
/// for the parent.
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

    /// Reports the end of this child's request. A process that the child has forked in its turn
    /// reports nothing: the parent does not know that process.
    pub(crate) fn report(&self, ended: &Ended) {
        if self.pid == std::process::id() {
            self.parent.report(ended);
        }
    }

    /// Reports a handshake of this child's request, as [`report`](Self::report) does its end.
    pub(crate) fn report_handshake(&self, handshake: &EndedHandshake) {
        if self.pid == std::process::id() {
            self.parent.report_handshake(handshake);
        }
    }
}
