//! Locks, the log, and deadlines, for every room. Nothing here imports from the framework.

pub(crate) mod deadline;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod sync;
pub(crate) mod throttle;
