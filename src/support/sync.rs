//! The atomics, locks and conditions of the framework's concurrent parts.
//!
//! They are the standard library's. Under `--cfg loom` they are those of the model checker `loom`,
//! which runs a test with every order of the threads' steps.

#[cfg(not(loom))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, atomic};

#[cfg(loom)]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(loom)]
pub(crate) use std::sync::PoisonError;

/// Keeps a store before the load that follows it, where both are `SeqCst`.
///
/// The orderings of the two accesses do that already, so this does nothing in a real program. The
/// model checker treats `SeqCst` accesses as `AcqRel`, and knows a fence of that strength.
pub(crate) fn store_load_fence() {
    #[cfg(loom)]
    atomic::fence(atomic::Ordering::SeqCst);
}
