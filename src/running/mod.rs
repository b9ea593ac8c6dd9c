//! The state of a running server: its requests, their ends, its settings, and its stop.

pub(crate) mod acceptor;
pub(crate) mod client_name;
pub(crate) mod counters;
pub(crate) mod ended;
pub(crate) mod events;
pub(crate) mod extensions;
pub(crate) mod floods;
pub(crate) mod in_child;
pub(crate) mod in_process;
pub(crate) mod layer_handle;
pub(crate) mod lifecycle;
pub(crate) mod lingering_connections;
pub(crate) mod parent_link;
pub(crate) mod per_address;
pub(crate) mod places;
pub(crate) mod refusals;
pub(crate) mod request_count;
pub(crate) mod request_guard;
pub(crate) mod request_log;
pub(crate) mod request_table;
pub(crate) mod server_handle;
pub(crate) mod settings;
pub(crate) mod shared;
pub(crate) mod stoppers;
pub(crate) mod thread_name;
pub(crate) mod threads;
