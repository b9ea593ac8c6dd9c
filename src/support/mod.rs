//! What every room may use: locks, the log, points in time. Nothing here knows the framework.

pub(crate) mod deadline;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod sync;
pub(crate) mod throttle;
