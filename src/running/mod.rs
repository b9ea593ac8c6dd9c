//! A server while it runs: which requests there are, who may stop it, how it is bounded.

pub(crate) mod active_request;
pub(crate) mod active_requests;
pub(crate) mod server_handle;
