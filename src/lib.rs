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
//! * A [`RequestHandler`] is the service. A handler reads and writes a [`StreamRequest`] or a
//!   [`DatagramRequest`] and knows neither the transport nor how many requests run at once.
//! * The layers are the server. The bottom layer is [`TcpServer`], [`UdpServer`],
//!   [`UnixStreamServer`] or [`UnixDatagramServer`]. A mix-in around the bottom layer decides where
//!   requests run: [`ThreadingMixIn`], [`ForkingMixIn`], [`ThreadPoolMixIn`], [`ReactorMixIn`], or
//!   a [`MixIn`] of your own. Without a mix-in, the loop serves one request at a time. The trait
//!   [`Serve`] puts a layer around another layer, and makes a server of them.
//! * [`Server`] is the value that your program holds, with the methods
//!   [`serve_forever`](Server::serve_forever), [`shutdown`](Server::shutdown) and
//!   [`server_close`](Server::server_close).
//!
//! The [`mock`] module runs a handler without a network.
//!
//! # Layers
//!
//! In Python, `class ThreadingTCPServer(ThreadingMixIn, TCPServer)` looks a method up in the
//! mix-in, then in `TCPServer`, then in `BaseServer`. Here a layer is a struct around its inner
//! layer, and a hook that the layer does not define falls through:
//!
//! ```text
//! ThreadingTcpServer<F>  =  Server< ThreadingMixIn< TcpServer<F> > >
//! ```
//!
//! The calls for one request, from the bind to the close:
//!
#![doc = include_str!("../docs/pictures/path.svg")]
//!
//! The same request in CPython's module:
//!
#![doc = include_str!("../docs/pictures/path-python.svg")]
//!
//! [`TraceMixIn`] prints these calls of a running server, and so does the command
//! `socketserver trace`.
//!
//! [`BaseServer`] lists the hooks in the order in which they run. An option belongs to the layer
//! that it changes, and is set while the stack is built:
//!
//! ```
//! use socketserver::{Serve, TcpServer, ThreadPoolMixIn};
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
//! The module [`layer`] has the items that only authors of layers need.
//!
//! # Where things are reported
//!
//! If a server cannot be set up, `bind` returns an [`Error`] whose message has the remedy. A
//! handler's error or panic goes to [`handle_error`](BaseServer::handle_error). This hook logs the
//! error with the client's address, through the [`log`] crate. A program that wants to see the log
//! installs a logger, such as `env_logger`.
//!
//! # Features
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `metrics` | no | `MetricsMixIn` and `Metrics`: the numbers of servers for Prometheus |
//! | `proxy-protocol` | no | `ProxyProtocolMixIn`: the real client behind a proxy |
//! | `tls` | no | `TlsMixIn` and `StreamRequest::start_tls`, with the cryptography of ring |
//! | `tls-aws-lc` | no | `TlsMixIn` and `start_tls`, with the cryptography of AWS-LC |
//!
//! The package of the command, `socketserver-handlers`, has features of its own, which are on by
//! default: `proxy-protocol`, `tls`, and `systemd` for sockets of a service manager and messages to
//! it.
//!
//! # The book
//!
//! The directory `docs` has the book as Markdown. `mdbook build docs` makes a site of it, beside
//! this reference. Its parts:
//!
//! * [Getting started](../../book/guide/getting-started.html),
//!   [recipes](../../book/guide/recipes.html) and the rest of the [guide](../../book/index.html)
//! * [The tutorial's programs](../../book/tutorial.html), also
//!   [in Chinese](../../book/zh/tutorial.html)
//! * [Network basics](../../book/basics/client-server.html)
//! * [The design](../../book/design/index.html) beside CPython's source, with
//!   [the path of a request](../../book/design/path.html) in both and
//!   [Python's names](../../book/design/python-names.html)
//! * [Terms](../../book/terms.html)
//!
//! # Platforms
//!
//! The crate runs on Unix. It is developed and tested on Linux.

/// The README's program is compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The programs of CONTRIBUTING are compiled too.
#[cfg(doctest)]
#[doc = include_str!("../CONTRIBUTING.md")]
struct Contributing;

#[cfg(doctest)]
mod book;

mod accepted;
mod any_mix_in;
mod base_server;
mod exchange_handler;
mod mix_in;
mod mix_ins;
pub mod mock;
mod request_handler;
mod requests;
mod running;
mod server;
mod servers;
mod servers_together;
mod stacks;
mod support;
mod transport;
mod values;

pub use any_mix_in::AnyMixIn;
pub use base_server::BaseServer;
pub use exchange_handler::ExchangeHandler;
pub use mix_in::MixIn;
pub use mix_ins::forking::ForkingMixIn;
#[cfg(feature = "metrics")]
pub use mix_ins::metrics::{Metrics, MetricsFormat, MetricsHandler, MetricsMixIn};
#[cfg(feature = "proxy-protocol")]
pub use mix_ins::proxy_protocol::{
    InvalidNetwork, ProxyHeader, ProxyHeaderError, ProxyProtocolMixIn, ProxySsl, TrustedNetwork,
    Untrusted,
};
pub use mix_ins::reactor::ReactorMixIn;
pub use mix_ins::thread_pool::ThreadPoolMixIn;
pub use mix_ins::threading::ThreadingMixIn;
#[cfg(feature = "tls")]
pub use mix_ins::tls::{
    HandshakeError, TlsConfig, TlsError, TlsMixIn, TlsOptions, TlsSession, TlsStatistics,
};
pub use mix_ins::trace::{TraceHandler, TraceLine, TraceMixIn, Tracer};
/// The crate of the registry in which a program registers its own numbers: see
/// [`Metrics::register`]. Python has no counterpart.
#[cfg(feature = "metrics")]
pub use prometheus_client;
pub use request_handler::{
    HandlerFactory, HandlerFn, RequestHandler, datagram_handler_fn, handler_fn,
};
pub use requests::datagram_request::DatagramRequest;
pub use requests::outbox::{Outbox, OutboxError};
pub use requests::request::Request;
pub use requests::stream_request::{Detached, MessageError, Relayed, StreamRequest, Waited};
pub use running::server_handle::ServerHandle;
pub use server::{Serve, Server};
pub use servers::tcp::TcpServer;
pub use servers::udp::UdpServer;
pub use servers::unix_datagram::UnixDatagramServer;
pub use servers::unix_stream::UnixStreamServer;
pub use servers_together::{Servers, ServersHandle};
pub use stacks::{
    ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer, ForkingUnixStreamServer,
    ReactorTcpServer, ReactorUnixStreamServer, ThreadPoolTcpServer, ThreadPoolUdpServer,
    ThreadPoolUnixDatagramServer, ThreadPoolUnixStreamServer, ThreadingTcpServer,
    ThreadingUdpServer, ThreadingUnixDatagramServer, ThreadingUnixStreamServer,
};
pub use transport::sys::PeerCredentials;
pub use transport::waits::blocking;
pub use values::address::Address;
pub use values::backlog::Backlog;
pub use values::deadlines::{DeadlineExceeded, Deadlines};
pub use values::drain_report::DrainReport;
pub use values::error::{Error, HandlerError, HandlerPanic, HandlerResult};
pub use values::inet_address::InetAddress;
pub use values::limits::Limits;
pub use values::lingering::Lingering;
pub use values::request_event::{HandshakeResult, Outcome, Refusal, RequestEvent, TlsVersion};
pub use values::statistics::Statistics;

/// Items for authors of mix-ins, bottom layers and transports.
///
/// [`BaseServer`] and [`MixIn`] are at the top of the crate, as `BaseServer` is in Python's module.
pub mod layer {
    pub use crate::base_server::Preparation;
    pub use crate::exchange_handler::serve_with;
    pub use crate::mix_in::RequestOf;
    pub use crate::request_handler::run_handler;
    pub use crate::requests::stream_request::Received;
    pub use crate::running::extensions::Extensions;
    pub use crate::running::layer_handle::LayerHandle;
    pub use crate::running::request_guard::RequestGuard;
    pub use crate::stacks::DefaultStack;
    pub use crate::transport::datagram_socket::DatagramSocket;
    pub use crate::transport::end_without_notice::EndWithoutNotice;
    pub use crate::transport::get_request_error::GetRequestError;
    pub use crate::transport::relay_end::RelayPeer;
    pub use crate::transport::socket_stream::SocketStream;
    pub use crate::transport::stream::Stream;
}
