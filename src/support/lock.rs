//! Locking a mutex whether or not it is poisoned, and waiting on a condition variable.

use crate::support::deadline::Deadline;
use crate::support::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, poisoned or not.
///
/// A poisoned mutex of the framework holds a consistent value: the value is consistent between any
/// two statements, and no user's code runs under the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condition` while `wait_on` returns true for the value in the mutex. Returns the lock,
/// and false if `wait_on` still returns true at the deadline.
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
