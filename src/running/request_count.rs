//! The number of running requests, and the threads that wait for it to fall.

use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::atomic::{AtomicU64, Ordering};
use crate::support::sync::{Condvar, Mutex};

/// The number of running requests, in one atomic integer together with the flags of the threads
/// that wait.
///
/// One integer orders the end of a request and the beginning of a wait: either the end sees the
/// flag of the wait, or the wait sees the smaller number. Every access that changes the integer is
/// `AcqRel`: a thread that sees the end of a request sees what was done before, such as the close
/// of the descriptor.
#[derive(Debug)]
pub(crate) struct RequestCount {
    word: AtomicU64,
    /// The mutex guards no value. A thread that notifies locks it first, so that the notification
    /// comes before a waiter reads the number, or while the waiter sleeps.
    none_here: Mutex<()>,
    changed: Condvar,
}

/// The loop waits until any request ends.
const LOOP_WAITS: u64 = 1;
/// A thread waits until no request runs, in this process or anywhere.
const DRAIN_WAITS: u64 = 1 << 1;
/// One request in this process; 26 bits.
const HERE: u64 = 1 << 2;
/// One request that is in this process and in a forked child: the child has the request, and this
/// process has not dropped its copy yet. The field has 14 bits, since a thread has at most one such
/// request.
const IN_BOTH: u64 = 1 << 28;
/// One request in a forked child that has not been collected; 22 bits, as many as a process id has.
const IN_CHILD: u64 = 1 << 42;

impl RequestCount {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(0),
            none_here: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// Returns the number of running requests, in this process and in forked children.
    pub(crate) fn total(&self) -> usize {
        anywhere(self.word.load(Ordering::Acquire))
    }

    /// Returns whether forked children run, or have ended and not been collected.
    pub(crate) fn has_children(&self) -> bool {
        in_children(self.word.load(Ordering::Acquire)) > 0
    }

    /// Counts a request that begins in this process.
    pub(crate) fn begin(&self) {
        self.word.fetch_add(HERE, Ordering::AcqRel);
    }

    /// Counts a request of this process in a forked child too, until
    /// [`end_copy`](Self::end_copy).
    pub(crate) fn begin_in_child(&self) {
        self.word.fetch_add(IN_CHILD + IN_BOTH, Ordering::AcqRel);
    }

    /// Counts the end of a request of this process. Returns whether to wake the loop.
    #[must_use]
    pub(crate) fn end(&self) -> bool {
        self.leave(HERE)
    }

    /// Counts the end of this process's copy of a request that a forked child has. Returns whether
    /// to wake the loop.
    #[must_use]
    pub(crate) fn end_copy(&self) -> bool {
        self.leave(HERE + IN_BOTH)
    }

    fn leave(&self, counted: u64) -> bool {
        let before = self.word.fetch_sub(counted, Ordering::AcqRel);
        if here(before) == 1 {
            self.notify_waiting(before);
        }
        self.takes_loop_wait(before)
    }

    /// Counts the end of a forked child that was collected, or is left running. Returns whether to
    /// wake the loop.
    #[must_use]
    pub(crate) fn end_in_child(&self) -> bool {
        let before = self.word.fetch_sub(IN_CHILD, Ordering::AcqRel);
        if in_children(before) == 1 {
            self.notify_waiting(before);
        }
        self.takes_loop_wait(before)
    }

    fn notify_waiting(&self, word: u64) {
        if word & DRAIN_WAITS != 0 {
            drop(lock(&self.none_here));
            self.changed.notify_all();
        }
    }

    /// Clears the flag of the loop. Returns true for the one caller that found the flag set.
    fn takes_loop_wait(&self, word: u64) -> bool {
        word & LOOP_WAITS != 0
            && self.word.fetch_and(!LOOP_WAITS, Ordering::AcqRel) & LOOP_WAITS != 0
    }

    /// Registers the loop for a wake-up at the next end of a request. Returns true if the loop was
    /// not registered before: a request may have ended since the loop read the number, so the loop
    /// reads it again.
    #[must_use]
    pub(crate) fn register_loop(&self) -> bool {
        self.word.fetch_or(LOOP_WAITS, Ordering::AcqRel) & LOOP_WAITS == 0
    }

    /// Waits until no request runs in this process. Returns false at the deadline.
    pub(crate) fn wait_for_none(&self, deadline: Deadline) -> bool {
        self.wait_while_some(deadline, here)
    }

    /// Waits until no request runs, in this process and in forked children. Returns false at the
    /// deadline.
    pub(crate) fn wait_for_none_anywhere(&self, deadline: Deadline) -> bool {
        self.wait_while_some(deadline, anywhere)
    }

    fn wait_while_some(&self, deadline: Deadline, number: fn(u64) -> usize) -> bool {
        let guard = lock(&self.none_here);
        let (_guard, none) = wait_while(&self.changed, guard, deadline, |()| {
            number(self.word.fetch_or(DRAIN_WAITS, Ordering::AcqRel)) > 0
        });
        // Later ends notify nobody. Another thread that waits sets the flag again.
        self.word.fetch_and(!DRAIN_WAITS, Ordering::AcqRel);
        self.changed.notify_all();
        none
    }
}

fn anywhere(word: u64) -> usize {
    // The child may have ended before this process has dropped its copy.
    (here(word) + in_children(word)).saturating_sub(in_both(word))
}

fn here(word: u64) -> usize {
    ((word % IN_BOTH) / HERE) as usize
}

fn in_both(word: u64) -> usize {
    ((word % IN_CHILD) / IN_BOTH) as usize
}

fn in_children(word: u64) -> usize {
    (word / IN_CHILD) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_is_counted_once_while_it_goes_over_to_a_child() {
        let count = RequestCount::new();
        count.begin();
        count.begin();
        count.begin_in_child();
        assert_eq!((count.total(), count.has_children()), (2, true));
        assert!(!count.end_copy());
        assert_eq!((count.total(), count.has_children()), (2, true));
        assert!(!count.end_in_child());
        assert_eq!((count.total(), count.has_children()), (1, false));
    }

    #[test]
    fn a_child_may_end_before_the_copy_of_its_request_is_dropped() {
        let count = RequestCount::new();
        count.begin();
        count.begin_in_child();
        assert!(!count.end_in_child());
        assert_eq!((count.total(), count.has_children()), (0, false));
        let now = Deadline::after(Some(Duration::ZERO));
        assert!(count.wait_for_none_anywhere(now));
        assert!(!count.wait_for_none(now), "the copy has a descriptor");
        assert!(!count.end_copy());
        assert_eq!(count.total(), 0);
        assert!(count.wait_for_none(now));
    }

    #[test]
    fn a_registered_loop_is_woken_once_by_the_next_end() {
        let count = RequestCount::new();
        count.begin();
        count.begin_in_child();
        assert!(count.register_loop());
        assert!(!count.register_loop());
        assert!(count.end_in_child());
        assert!(!count.end());
    }

    #[test]
    fn a_wait_for_none_ends_at_its_deadline_while_a_request_runs() {
        let count = RequestCount::new();
        assert!(count.wait_for_none(Deadline::NEVER));
        count.begin();
        assert!(!count.wait_for_none(Deadline::after(Some(Duration::from_millis(1)))));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    #[test]
    fn a_drain_that_waits_sees_the_end_of_the_last_request() {
        loom::model(|| {
            let count = Arc::new(RequestCount::new());
            count.begin();
            count.begin();
            let requests = [(), ()].map(|()| {
                let count = count.clone();
                loom::thread::spawn(move || count.end())
            });
            // A lost notification is a deadlock.
            assert!(count.wait_for_none(Deadline::NEVER));
            assert_eq!(count.total(), 0);
            for request in requests {
                request.join().unwrap();
            }
        });
    }

    #[test]
    fn two_threads_that_wait_see_the_end_of_the_last_child() {
        loom::model(|| {
            let count = Arc::new(RequestCount::new());
            count.begin();
            count.begin_in_child();
            assert!(!count.end_copy());
            let threads = [
                |count: &RequestCount| !count.end_in_child(),
                |count: &RequestCount| count.wait_for_none_anywhere(Deadline::NEVER),
            ];
            let threads = threads.map(|step| {
                let count = count.clone();
                loom::thread::spawn(move || step(&count))
            });
            // A lost notification is a deadlock.
            assert!(count.wait_for_none_anywhere(Deadline::NEVER));
            assert_eq!(count.total(), 0);
            for thread in threads {
                assert!(thread.join().unwrap());
            }
        });
    }

    #[test]
    fn a_loop_at_its_limit_is_woken_or_sees_the_smaller_number() {
        loom::model(|| {
            let count = Arc::new(RequestCount::new());
            count.begin();
            let request = {
                let count = count.clone();
                loom::thread::spawn(move || count.end())
            };
            let registered = count.register_loop();
            let is_at_limit = count.total() >= 1;
            let wakes = request.join().unwrap();
            assert!(registered);
            assert!(
                !is_at_limit || wakes,
                "the loop would sleep beside a free place"
            );
        });
    }
}
