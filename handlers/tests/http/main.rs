//! The behaviour of `socketserver_handlers::http`: over mocks, over sockets under every mix-in, and
//! with the clients that people have.

#![cfg(feature = "http")]

mod bodies;
mod conversation;
mod heads;
mod peers;
mod replies;
mod responses;
mod services;
mod sockets;
mod times;
mod upgrades;
