//! Python's `socketserver` for Rust: a synchronous framework in which a server is a stack of small
//! layers, and a service is one struct.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use socketserver::{HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};
//!
//! /// Sends back what comes, in upper case.
//! #[derive(Default)]
//! struct Upper;
//!
//! impl RequestHandler for Upper {
//!     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
//!         let mut buffer = [0; 1024];
//!         while request.wait()? {
//!             let count = request.read(&mut buffer)?;
//!             buffer[..count].make_ascii_uppercase();
//!             request.write_all(&buffer[..count])?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> Result<(), socketserver::Error> {
//!     let server = ThreadingTcpServer::bind("127.0.0.1:9999", Upper::default)?;
//!     println!("listening on {}", server.server_address());
//!     server.serve_forever()
//! }
//! ```
//!
//! # The three parts
//!
//! * A [`RequestHandler`] is the service. It reads and writes a [`StreamRequest`] or a
//!   [`DatagramRequest`] and knows neither the transport nor how many requests run at once.
//! * The layers are the server. At the bottom one of [`TcpServer`], [`UdpServer`],
//!   [`UnixStreamServer`] and [`UnixDatagramServer`]; around it [`ThreadingMixIn`],
//!   [`ForkingMixIn`], [`ThreadPoolMixIn`], none, or a [`MixIn`] of your own.
//! * [`Server`] is what you hold: [`serve_forever`](Server::serve_forever),
//!   [`shutdown`](Server::shutdown), [`server_close`](Server::server_close).
//!
//! The [`mock`] module runs a handler without a network.
//!
//! # Layers
//!
//! In Python, `class ThreadingTCPServer(ThreadingMixIn, TCPServer)` looks a method up in the mix-in,
//! then in `TCPServer`, then in `BaseServer`. Here a layer is a struct around the next one, and a
//! hook that it does not define falls through:
//!
//! ```text
//! ThreadingTcpServer<F>  =  Server< ThreadingMixIn< TcpServer<F> > >
//! ```
//!
//! The hooks, in the order in which they run, are told at [`BaseServer`]. Options belong to the
//! layer that they are about, and are set while the stack is built:
//!
//! ```
//! use socketserver::{BaseServer, TcpServer, ThreadPoolMixIn};
//! # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
//! # #[derive(Default)] struct Upper;
//! # impl RequestHandler for Upper {
//! #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
//! # }
//!
//! let server = TcpServer::new("localhost:0", Upper::default)
//!     .request_queue_size(64)
//!     .mix_in(ThreadPoolMixIn::new)
//!     .workers(8)
//!     .bind()?;
//! # Ok::<(), socketserver::Error>(())
//! ```
//!
//! # Where things are reported
//!
//! Setting up fails with an [`Error`] that says what to do. A handler's error or panic goes to
//! [`handle_error`](BaseServer::handle_error), which logs it, with the client's address, through the
//! [`log`] crate; a program that wants to see it installs a logger, such as `env_logger`.
//!
//! # Platforms
//!
//! Unix. It is developed and tested on Linux.

/// The README's program is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
mod book;

mod active_request;
mod active_requests;
mod address;
mod base_server;
mod child_report;
mod connection;
mod datagram_request;
mod deadlines;
mod drain_report;
mod error;
mod exchange_clock;
mod forking;
mod limits;
mod lock;
mod logging;
mod mix_in;
pub mod mock;
mod read_buffer;
mod readiness;
mod request;
mod request_event;
mod request_handler;
mod server;
mod server_handle;
mod server_socket;
mod socket_file;
mod socket_stream;
mod stacks;
mod statistics;
mod stream;
mod stream_request;
mod tcp_server;
mod thread_pool;
mod threading;
mod traffic;
mod udp_server;
mod unix_datagram_server;
mod unix_stream_server;
mod wakeup;
mod warning;

pub use active_request::ActiveRequest;
pub use address::{Address, InetAddress};
pub use base_server::BaseServer;
pub use datagram_request::DatagramRequest;
pub use deadlines::{DeadlineExceeded, Deadlines};
pub use drain_report::DrainReport;
pub use error::{Error, HandlerError, HandlerPanic, HandlerResult};
pub use forking::ForkingMixIn;
pub use limits::Limits;
pub use mix_in::{MixIn, RequestOf};
pub use request::Request;
pub use request_event::{Outcome, Refusal, RequestEvent};
pub use request_handler::{HandlerFactory, RequestHandler};
pub use server::Server;
pub use server_handle::ServerHandle;
pub use stacks::{
    DefaultStack, ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer,
    ForkingUnixStreamServer, ThreadPoolTcpServer, ThreadPoolUdpServer,
    ThreadPoolUnixDatagramServer, ThreadPoolUnixStreamServer, ThreadingTcpServer,
    ThreadingUdpServer, ThreadingUnixDatagramServer, ThreadingUnixStreamServer,
};
pub use statistics::Statistics;
pub use stream::Stream;
pub use stream_request::StreamRequest;
pub use tcp_server::TcpServer;
pub use thread_pool::ThreadPoolMixIn;
pub use threading::ThreadingMixIn;
pub use udp_server::UdpServer;
pub use unix_datagram_server::UnixDatagramServer;
pub use unix_stream_server::UnixStreamServer;
