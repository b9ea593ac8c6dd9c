//! The bottom layer over TCP.

use std::fmt;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use socket2::Type;

use crate::base_server::BaseServer;
use crate::exchange_handler::serve_with;
use crate::request_handler::HandlerFactory;
use crate::requests::stream_request::StreamRequest;
use crate::running::layer_handle::LayerHandle;
use crate::server::{Serve, Server};
use crate::servers::server_socket::ServerSocket;
use crate::transport::bound_file::FileAccess;
use crate::transport::get_request_error::GetRequestError;
use crate::values::error::{Error, HandlerResult};
use crate::values::inet_address::InetAddress;

/// Serves TCP connections, over IPv4, IPv6 or both, one at a time unless a mix-in is around it.
///
/// Python's `TCPServer`. [`new`](Self::new) and the methods after it set the options; then
/// [`bind`](crate::Serve::bind) makes the server:
///
/// ```
/// use socketserver::{Serve, TcpServer};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
/// let server = TcpServer::new("localhost:0", || Nothing).request_queue_size(5).bind()?;
/// println!("listening on {}", server.server_address());
/// # Ok::<(), socketserver::Error>(())
/// ```
///
/// A server on the IPv6 address `[::]` serves IPv4 clients too, unless [`only_v6`](Self::only_v6)
/// is set.
#[doc(alias = "TCPServer")]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct TcpServer<F> {
    socket: ServerSocket,
    request_queue_size: i32,
    handler_factory: F,
}

impl<F: HandlerFactory<StreamRequest>> TcpServer<F> {
    /// Makes a bottom layer that is to listen on `address`, and makes its handlers with
    /// `handler_factory`.
    ///
    /// [`bind`](crate::Serve::bind) creates the socket, so this cannot fail.
    pub fn new(address: impl Into<InetAddress>, handler_factory: F) -> Self {
        Self::over(
            ServerSocket::inet(address.into(), Type::STREAM),
            handler_factory,
        )
    }

    /// Makes a server of this layer alone, with the default options, bound and listening:
    /// `TcpServer::bind("127.0.0.1:9999", Handler::default)`. Python's constructor.
    ///
    /// For other options, and for a mix-in, begin with [`new`](Self::new), and end with the method
    /// [`bind`](Serve::bind) of the trait [`Serve`], which has to be in scope.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Serve::bind`].
    pub fn bind(
        address: impl Into<InetAddress>,
        handler_factory: F,
    ) -> Result<Server<Self>, Error> {
        Serve::bind(Self::new(address, handler_factory))
    }

    /// Makes a bottom layer over a socket that is bound already: inherited from a supervisor such
    /// as systemd, or bound before the program gave up its privileges.
    ///
    /// The [server's address](crate::Server::server_address) is that of the socket. A `TcpListener`
    /// can be made [of an `OwnedFd`](OwnedFd).
    ///
    /// * The server owns the descriptor, and sets `FD_CLOEXEC` on it. The close of the server
    ///   closes the descriptor, and does not shut the socket down: another process that has the
    ///   socket still serves its clients.
    /// * [`server_activate`](crate::Server::server_activate) sets `O_NONBLOCK`, which all copies of
    ///   the descriptor share, and calls listen(2) even if the socket listens already. So
    ///   [`request_queue_size`](Self::request_queue_size) replaces the former backlog. Waiting
    ///   clients stay in the backlog.
    /// * The options that the server sets before bind(2) are not available. After
    ///   [`allow_reuse_address`](Self::allow_reuse_address),
    ///   [`allow_reuse_port`](Self::allow_reuse_port) or [`only_v6`](Self::only_v6), with either
    ///   value, [`bind`](crate::Serve::bind) fails with [`Error::SetOption`].
    /// * If the descriptor is not a stream socket, `bind` fails with [`Error::GivenSocket`].
    ///
    /// In Python a program passes `bind_and_activate=False`, and assigns to `server.socket`.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use socketserver::{Serve, TcpServer};
    /// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
    /// # struct Nothing;
    /// # impl RequestHandler for Nothing {
    /// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
    /// # }
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let address = listener.local_addr()?;
    /// let server = TcpServer::from_listener(listener, || Nothing).bind()?;
    /// assert_eq!(server.local_addr(), Some(address));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_listener(listener: TcpListener, handler_factory: F) -> Self {
        Self::given(listener.into(), handler_factory)
    }

    /// Makes a bottom layer that accepts no connections itself. The server serves the connections
    /// that the program passes to [`Server::serve`](crate::Server::serve), of TCP and of Unix
    /// sockets.
    ///
    /// The [server's address](crate::Server::server_address) is
    /// [`UnixUnnamed`](crate::Address::UnixUnnamed). `serve_forever` of such a server only waits
    /// for a stop request. In Python a program passes `bind_and_activate=False`.
    pub fn without_listener(handler_factory: F) -> Self {
        Self::over(ServerSocket::none(Type::STREAM), handler_factory)
    }

    /// Makes the layer as [`from_listener`](Self::from_listener) does, of a socket of any family.
    pub(crate) fn given(socket: OwnedFd, handler_factory: F) -> Self {
        Self::over(ServerSocket::given(socket, Type::STREAM), handler_factory)
    }

    /// Makes the layer as [`new`](Self::new) does, over Unix sockets, for
    /// [`UnixStreamServer`](crate::UnixStreamServer).
    pub(crate) fn unix(path: PathBuf, handler_factory: F) -> Self {
        Self::over(ServerSocket::unix(path, Type::STREAM), handler_factory)
    }

    /// The mode and the group of the file, for a server over Unix sockets.
    pub(super) fn file_access(&mut self) -> &mut FileAccess {
        &mut self.socket.listening.options.access
    }

    /// Whether the server removes the file of a given Unix socket.
    pub(super) fn owns_file(&mut self) -> &mut bool {
        &mut self.socket.listening.owns_file
    }

    fn over(socket: ServerSocket, handler_factory: F) -> Self {
        // The system lowers this to its own maximum (net.core.somaxconn). With Python's 5, the
        // seventh and later clients of a burst wait a second or more.
        Self {
            socket,
            request_queue_size: i32::MAX,
            handler_factory,
        }
    }

    /// Sets how many connections may wait to be accepted: the backlog of listen(2). The default is
    /// the system's maximum (on Linux `net.core.somaxconn`), and the system lowers a greater number
    /// to that maximum. Python's `request_queue_size`, which is 5 by default.
    pub fn request_queue_size(mut self, size: u32) -> Self {
        self.request_queue_size = i32::try_from(size).unwrap_or(i32::MAX);
        self
    }

    /// Sets `SO_REUSEADDR`: whether the server can be started again while connections of its
    /// predecessor linger in the kernel (`TIME-WAIT`). True unless set. Python's default is false,
    /// so that a restart fails if the predecessor has served a client within the last minute.
    pub fn allow_reuse_address(mut self, allow: bool) -> Self {
        self.socket.listening.options.reuse_address = Some(allow);
        self
    }

    /// Sets `SO_REUSEPORT`: whether several servers may listen on the address at once, and share
    /// its clients. False unless set, as in Python.
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.socket.listening.options.reuse_port = Some(allow);
        self
    }

    /// Sets `IPV6_V6ONLY`: whether a server on an IPv6 address excludes IPv4 clients. False unless
    /// set, on every system. In Python the system decides.
    pub fn only_v6(mut self, only: bool) -> Self {
        self.socket.listening.options.only_v6 = Some(only);
        self
    }
}

impl<F: HandlerFactory<StreamRequest>> BaseServer for TcpServer<F> {
    type Request = StreamRequest;

    fn layer_handle(&self) -> &LayerHandle {
        self.socket.handle()
    }

    fn socket(&self) -> Result<Arc<OwnedFd>, Error> {
        self.socket.open()
    }

    fn server_bind(&self) -> Result<(), Error> {
        self.socket.bind()
    }

    fn server_activate(&self) -> Result<(), Error> {
        self.socket.open()?;
        let listens = self.socket.listening.listen(self.request_queue_size);
        listens.map_err(|(address, source)| Error::listen(address, source))
    }

    fn get_request(&self) -> Result<StreamRequest, GetRequestError> {
        let (connection, client) = self.socket.listening.accept()?;
        Ok(StreamRequest::from_socket(
            connection.into(),
            client,
            self.layer_handle(),
        ))
    }

    fn finish_request(&self, request: &mut StreamRequest) -> HandlerResult {
        serve_with(&self.handler_factory, request)
    }

    fn server_close(&self) {
        self.socket.close();
    }
}

impl<F> fmt::Debug for TcpServer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpServer")
            .field("socket", &self.socket)
            .field("request_queue_size", &self.request_queue_size)
            .finish_non_exhaustive()
    }
}
