//! The usual stacks of layers, under Python's names.

use std::path::PathBuf;

use crate::base_server::BaseServer;
use crate::mix_ins::forking::ForkingMixIn;
use crate::mix_ins::reactor::ReactorMixIn;
use crate::mix_ins::thread_pool::ThreadPoolMixIn;
use crate::mix_ins::threading::ThreadingMixIn;
use crate::request_handler::HandlerFactory;
use crate::requests::datagram_request::DatagramRequest;
use crate::requests::stream_request::StreamRequest;
use crate::server::{Serve, Server};
use crate::servers::tcp::TcpServer;
use crate::servers::udp::UdpServer;
use crate::servers::unix_datagram::UnixDatagramServer;
use crate::servers::unix_stream::UnixStreamServer;
use crate::values::error::Error;
use crate::values::inet_address::InetAddress;

/// A server over TCP that serves each connection in a thread of its own.
#[doc(alias = "ThreadingTCPServer")]
pub type ThreadingTcpServer<F> = Server<ThreadingMixIn<TcpServer<F>>>;
/// A server over UDP that serves each datagram in a thread of its own.
#[doc(alias = "ThreadingUDPServer")]
pub type ThreadingUdpServer<F> = Server<ThreadingMixIn<UdpServer<F>>>;
/// A server over Unix streams that serves each connection in a thread of its own.
pub type ThreadingUnixStreamServer<F> = Server<ThreadingMixIn<UnixStreamServer<F>>>;
/// A server over Unix datagrams that serves each datagram in a thread of its own.
pub type ThreadingUnixDatagramServer<F> = Server<ThreadingMixIn<UnixDatagramServer<F>>>;

/// A server over TCP that serves each connection in a child process.
#[doc(alias = "ForkingTCPServer")]
pub type ForkingTcpServer<F> = Server<ForkingMixIn<TcpServer<F>>>;
/// A server over UDP that serves each datagram in a child process.
#[doc(alias = "ForkingUDPServer")]
pub type ForkingUdpServer<F> = Server<ForkingMixIn<UdpServer<F>>>;
/// A server over Unix streams that serves each connection in a child process. Python has this class
/// since 3.12.
pub type ForkingUnixStreamServer<F> = Server<ForkingMixIn<UnixStreamServer<F>>>;
/// A server over Unix datagrams that serves each datagram in a child process. Python has this class
/// since 3.12.
pub type ForkingUnixDatagramServer<F> = Server<ForkingMixIn<UnixDatagramServer<F>>>;

/// A server over TCP with a fixed number of threads.
pub type ThreadPoolTcpServer<F> = Server<ThreadPoolMixIn<TcpServer<F>>>;
/// A server over UDP with a fixed number of threads.
pub type ThreadPoolUdpServer<F> = Server<ThreadPoolMixIn<UdpServer<F>>>;
/// A server over Unix streams with a fixed number of threads.
pub type ThreadPoolUnixStreamServer<F> = Server<ThreadPoolMixIn<UnixStreamServer<F>>>;
/// A server over Unix datagrams with a fixed number of threads.
pub type ThreadPoolUnixDatagramServer<F> = Server<ThreadPoolMixIn<UnixDatagramServer<F>>>;

/// A server over TCP with a reactor: a connection whose client is silent costs no thread.
pub type ReactorTcpServer<F> = Server<ReactorMixIn<TcpServer<F>>>;
/// A server over Unix streams with a reactor.
pub type ReactorUnixStreamServer<F> = Server<ReactorMixIn<UnixStreamServer<F>>>;

/// A stack of layers that can be made of an address and a handler factory alone.
///
/// [`Server::bind`] requires this trait. A layer of your own may implement it, if its other options
/// have defaults.
pub trait DefaultStack: BaseServer {
    /// The type of the address that the bottom layer listens on.
    type Address;
    /// The type of the factory that makes the handlers.
    type HandlerFactory;

    /// Makes the layers, each with its default options.
    fn with_defaults(address: Self::Address, handler_factory: Self::HandlerFactory) -> Self;
}

impl<S: DefaultStack> Server<S> {
    /// Makes a server with the default options, bound and listening:
    /// `ThreadingTcpServer::bind("127.0.0.1:9999", Upper::default)`. Python's constructor.
    ///
    /// For other options, begin with the bottom layer: `TcpServer::new(…)`, its options,
    /// [`mix_in`](Serve::mix_in), the mix-in's options, [`bind`](Serve::bind).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Serve::bind`].
    pub fn bind(
        address: impl Into<S::Address>,
        handler_factory: S::HandlerFactory,
    ) -> Result<Self, Error> {
        S::with_defaults(address.into(), handler_factory).bind()
    }
}

impl<F: HandlerFactory<StreamRequest>> DefaultStack for TcpServer<F> {
    type Address = InetAddress;
    type HandlerFactory = F;

    fn with_defaults(address: InetAddress, handler_factory: F) -> Self {
        Self::new(address, handler_factory)
    }
}

impl<F: HandlerFactory<DatagramRequest>> DefaultStack for UdpServer<F> {
    type Address = InetAddress;
    type HandlerFactory = F;

    fn with_defaults(address: InetAddress, handler_factory: F) -> Self {
        Self::new(address, handler_factory)
    }
}

impl<F: HandlerFactory<StreamRequest>> DefaultStack for UnixStreamServer<F> {
    type Address = PathBuf;
    type HandlerFactory = F;

    fn with_defaults(path: PathBuf, handler_factory: F) -> Self {
        Self::new(path, handler_factory)
    }
}

impl<F: HandlerFactory<DatagramRequest>> DefaultStack for UnixDatagramServer<F> {
    type Address = PathBuf;
    type HandlerFactory = F;

    fn with_defaults(path: PathBuf, handler_factory: F) -> Self {
        Self::new(path, handler_factory)
    }
}

impl<S: DefaultStack> DefaultStack for ThreadingMixIn<S> {
    type Address = S::Address;
    type HandlerFactory = S::HandlerFactory;

    fn with_defaults(address: S::Address, handler_factory: S::HandlerFactory) -> Self {
        S::with_defaults(address, handler_factory).mix_in(Self::new)
    }
}

impl<S: DefaultStack> DefaultStack for ForkingMixIn<S> {
    type Address = S::Address;
    type HandlerFactory = S::HandlerFactory;

    fn with_defaults(address: S::Address, handler_factory: S::HandlerFactory) -> Self {
        S::with_defaults(address, handler_factory).mix_in(Self::new)
    }
}

impl<S: DefaultStack> DefaultStack for ThreadPoolMixIn<S> {
    type Address = S::Address;
    type HandlerFactory = S::HandlerFactory;

    fn with_defaults(address: S::Address, handler_factory: S::HandlerFactory) -> Self {
        S::with_defaults(address, handler_factory).mix_in(Self::new)
    }
}

impl<S: DefaultStack> DefaultStack for ReactorMixIn<S> {
    type Address = S::Address;
    type HandlerFactory = S::HandlerFactory;

    fn with_defaults(address: S::Address, handler_factory: S::HandlerFactory) -> Self {
        S::with_defaults(address, handler_factory).mix_in(Self::new)
    }
}
