//! The mix-ins. Some decide where a request is served: in a thread, a process, a pool of threads,
//! or a reactor. Others read or change its bytes before the handler, measure, or show the calls.

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
