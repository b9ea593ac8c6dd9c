//! The `socketserver` command, run as a user runs it.

mod abandoned_commands;
mod addresses;
mod admission;
mod auth;
mod bounds;
mod chat;
mod client;
mod client_chat;
mod client_command_runner;
mod client_faults;
mod client_messages;
mod client_shell;
mod command_source;
mod datagram_loops;
mod descriptors;
mod exec;
mod exposure;
#[cfg(feature = "files")]
mod files;
mod health_checks;
#[cfg(feature = "http")]
mod http;
mod inherited;
mod listing;
#[cfg(feature = "proxy-protocol")]
mod metrics;
mod other_users;
mod privileges;
mod proxy_protocol;
#[cfg(feature = "systemd")]
mod restart;
mod served;
mod serving;
mod several_listeners;
mod shell;
mod shell_limits;
mod signals;
mod standard_streams;
#[cfg(feature = "systemd")]
mod systemd;
#[cfg(feature = "tls")]
mod tls;
mod trace;
mod unix_sockets;
mod usage;
