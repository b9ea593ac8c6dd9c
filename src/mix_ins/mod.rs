//! The layers that decide where a request is served: in a thread, a process, or a pool of threads;
//! the layers that read or change its bytes before the handler; the layer that measures; and the
//! layer that shows the calls.

pub(crate) mod forking;
#[cfg(feature = "metrics")]
pub(crate) mod metrics;
#[cfg(feature = "proxy-protocol")]
pub(crate) mod proxy_protocol;
pub(crate) mod reactor;
pub(crate) mod thread_pool;
pub(crate) mod threading;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod trace;
