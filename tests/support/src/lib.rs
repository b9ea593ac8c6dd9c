//! The common parts of the framework's test programs `shared_process` and `own_process`.
//!
//! This is a crate, and not a module of each program. A program that uses half of a module would
//! have to allow the other half as dead code.

pub mod certificates;
pub mod clients;
pub mod conversation;
pub mod memory_limit;
pub mod observer;
pub mod own_process;
pub mod preamble;
pub mod processes;
pub mod proxies;
pub mod reports;
pub mod running_server;
pub mod scrapes;
pub mod services;
pub mod short_paths;
pub mod task_limit;
pub mod tls_clients;
pub mod waiting;
pub mod words;
pub mod wrapped_stream;
