//! What every room may use, and what knows of none: locks, the log, time.

pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod throttle;
