//! Tests that run beside each other in one process, one module for each subject.
//!
//! None of them forks, starts a program, or changes or counts what belongs to the whole process;
//! those that do are in `tests/own_process`.

mod accepted;
mod addresses;
mod backlog;
mod changed_streams;
mod close;
mod conversations;
mod datagram_addresses;
mod datagram_requests_over_mocks;
mod datagrams;
mod drain;
mod errors;
mod exchange_handlers;
mod files;
mod given_sockets;
mod handle_request;
mod lifetimes;
mod lingering;
mod messages;
mod mix_ins;
mod outboxes;
mod own_bottom_layer;
mod own_datagram_layer;
mod preparation;
mod progress;
mod proxy_protocol;
mod relays;
mod resets;
mod servers_together;
mod several_addresses;
mod shutdown;
mod socket_access;
mod stream_requests_over_mocks;
mod thread_pool;
mod threading;
mod tls;
mod tls_handshakes;
mod tls_streams;
mod turns;
mod unix_access;
mod unix_files;
mod unix_restarts;
mod verify_request;
mod waits;
mod writes;
