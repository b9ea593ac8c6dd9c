//! The layers that decide where a request is served: in a thread, a process, or a pool of threads.

pub(crate) mod forking;
pub(crate) mod reactor;
pub(crate) mod thread_pool;
pub(crate) mod threading;
