//! The behaviour of `socketserver_handlers::http`: over mocks, over sockets under every mix-in, and
//! with the clients that people have.

#![cfg(feature = "http")]

mod bodies;
mod conversation;
mod files;
mod heads;
mod load_generators;
mod open_files;
mod outside;
mod peers;
mod programs;
mod replies;
mod responses;
mod services;
mod site;
mod sockets;
mod times;
mod upgrades;
