//! Mutexes that a panic elsewhere does not take out of use.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, poisoned or not.
///
/// What the framework keeps in its mutexes is whole between any two statements, and a user's code
/// never runs under them, so a panic leaves nothing half-done behind.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
