//! Tests that need a process of their own, each of which calls [`support::own_process::alone`].
//!
//! Such a test forks, or starts a program: a child has copies of every descriptor and of every lock
//! in the process, and keeps another test's connections open. Or such a test changes or counts what
//! belongs to a whole process: its limits, its user, its directory, its signals, its logger, its
//! threads, its descriptors. Each of these modules has one subject.

mod any_mix_in;
mod bind_leak;
mod blocked_child_signal;
mod child_signal;
mod deadlines;
mod descriptors;
mod fork_failure;
mod forked_addresses;
mod forked_backlog;
mod forked_counts;
mod forked_lingering;
mod forked_preparation;
mod forking;
mod forking_limits;
mod handler_panics;
mod haproxy;
mod killed_children;
mod limits;
mod log_lines;
mod lost_listener;
mod metrics;
mod nothing_left;
mod observation;
mod panicking_logger;
mod prefork;
mod proxy_protocol;
mod reactor;
mod relays_in_children;
mod signal_storm;
mod slow_clients;
mod socket_errors;
mod started_programs;
mod thread_creation;
mod tls;
mod tls_peers;
mod twelve_servers;
mod working_directory;
