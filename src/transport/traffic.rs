//! The bytes that a request has received and sent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes received and sent, as the transport carries them. The thread that serves the request
/// counts; any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    pub(crate) fn count_received(&self, bytes: u64) {
        add(&self.received, bytes);
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        add(&self.sent, bytes);
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }
}

/// Adds without a locked instruction, since only one thread at a time counts.
fn add(count: &AtomicU64, bytes: u64) {
    count.store(count.load(Relaxed).wrapping_add(bytes), Relaxed);
}
