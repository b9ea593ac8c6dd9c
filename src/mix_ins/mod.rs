//! The layers that decide who serves a request: a thread, a process, a pool of threads.

pub(crate) mod forking;
pub(crate) mod thread_pool;
pub(crate) mod threading;
