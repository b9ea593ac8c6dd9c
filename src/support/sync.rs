//! The atomics, locks and conditions of the framework's concurrent parts.
//!
//! The types are the standard library's. Under `--cfg loom` they are those of the model checker
//! `loom`, which runs a test with every order of the threads' steps.

#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(loom)]
pub(crate) use std::sync::{PoisonError, TryLockError};

/// Keeps a store before the load that follows it, where both are `SeqCst`.
///
/// A real program needs no fence, because the orderings of the two accesses suffice. The model
/// checker treats `SeqCst` accesses as `AcqRel`, so it needs a `SeqCst` fence, which it supports.
pub(crate) fn store_load_fence() {
    #[cfg(loom)]
    atomic::fence(atomic::Ordering::SeqCst);
}
