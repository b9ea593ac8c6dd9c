//! Mutexes that a panic elsewhere does not take out of use, and waiting under them.

use crate::support::deadline::Deadline;
use crate::support::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, poisoned or not.
///
/// What the framework keeps in its mutexes is whole between any two statements, and a user's code
/// never runs under them, so a panic leaves nothing half-done behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condition` while `wait_on` is true of what the mutex holds. Returns the lock, and
/// false if `wait_on` is still true at the deadline.
pub(crate) fn wait_while<'a, T>(
    condition: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Deadline,
    mut wait_on: impl FnMut(&mut T) -> bool,
) -> (MutexGuard<'a, T>, bool) {
    while wait_on(&mut guard) {
        guard = match deadline.left() {
            None => condition
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner),
            Some(left) if left.is_zero() => return (guard, false),
            Some(left) => {
                let woken = condition.wait_timeout(guard, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
    (guard, true)
}
