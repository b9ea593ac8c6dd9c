//! The gate between the threads that fork and the threads that hold a lock.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A thread holds this lock while it forks, and while it holds a lock that a child may need: the
/// lock of the log, or of files that are loaded again. fork(2) copies locks as they are, and the
/// thread that would unlock a lock does not exist in the child.
static GATE: Mutex<()> = Mutex::new(());

thread_local! {
    /// The gate, while this thread holds it.
    static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// The time in which this thread holds the gate.
#[derive(Debug)]
#[must_use]
pub struct Held {
    /// Whether an earlier call holds the gate, so that the end of this value opens nothing.
    by_earlier: bool,
}

/// Waits until no other thread holds the gate, and holds it. A thread that holds the gate already
/// goes on at once.
pub fn hold() -> Held {
    let by_earlier = HELD.with(|held| held.borrow().is_some());
    if !by_earlier {
        let guard = GATE.lock().unwrap_or_else(PoisonError::into_inner);
        HELD.with(|held| held.replace(Some(guard)));
    }
    Held { by_earlier }
}

/// Opens the gate in a forked child, whose only thread is a copy of the thread that holds it.
pub fn open_in_child() {
    HELD.with(|held| drop(held.take()));
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.by_earlier {
            HELD.with(|held| drop(held.take()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn other_threads_wait_for_the_thread_that_holds_the_gate_and_that_thread_does_not() {
        let held = hold();
        drop(hold());
        let (passed, wait) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let _passes = hold();
                passed.send(()).unwrap();
            });
            assert!(wait.try_recv().is_err());
            drop(held);
            wait.recv().unwrap();
        });
        drop(hold());
    }
}
