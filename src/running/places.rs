//! The clients that wait for a place among the running requests.

use crate::support::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Whether the loop has no place for further clients, and how many accepted requests wait for one.
///
/// All accesses are `Relaxed`: a handler that misses a change sees it at its next exchange.
#[derive(Debug)]
pub(crate) struct Places {
    full: AtomicBool,
    /// The numbers of requests that have begun to wait and that have ceased to wait. There are two
    /// counters, because a request may cease to wait before its beginning is counted.
    queued: AtomicUsize,
    dequeued: AtomicUsize,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self {
            full: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            dequeued: AtomicUsize::new(0),
        }
    }

    /// Notes that the loop waits for a place, until the returned value is dropped.
    pub(crate) fn wait_for_one(&self) -> LoopWaits<'_> {
        self.full.store(true, Relaxed);
        LoopWaits(self)
    }

    /// Whether the loop waits for a place.
    pub(crate) fn are_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// Counts an accepted request that waits for a thread.
    pub(crate) fn enqueue(&self) {
        self.queued.fetch_add(1, Relaxed);
    }

    /// Counts the end of such a wait.
    pub(crate) fn dequeue(&self) {
        self.dequeued.fetch_add(1, Relaxed);
    }

    /// Whether accepted requests wait for a thread.
    pub(crate) fn have_queue(&self) -> bool {
        self.queue_length() > 0
    }

    /// Returns how many accepted requests wait for a thread.
    pub(crate) fn queue_length(&self) -> usize {
        let (queued, dequeued) = (self.queued.load(Relaxed), self.dequeued.load(Relaxed));
        let length = queued.wrapping_sub(dequeued).cast_signed();
        usize::try_from(length).unwrap_or(0)
    }
}

/// The loop waits for a place as long as this value exists: see [`Places::wait_for_one`].
#[derive(Debug)]
pub(crate) struct LoopWaits<'a>(&'a Places);

impl Drop for LoopWaits<'_> {
    fn drop(&mut self) {
        self.0.full.store(false, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_counted_whichever_of_its_ends_is_noted_first() {
        let places = Places::new();
        places.dequeue();
        assert!(!places.have_queue());
        places.enqueue();
        assert!(!places.have_queue());
        places.enqueue();
        assert!(places.have_queue());
    }

    #[test]
    fn the_places_are_full_while_the_loop_waits() {
        let places = Places::new();
        let waits = places.wait_for_one();
        assert!(places.are_full());
        drop(waits);
        assert!(!places.are_full());
    }
}
