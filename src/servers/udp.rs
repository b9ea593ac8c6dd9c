//! The bottom layer over UDP.

use std::fmt;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use socket2::Type;

use crate::base_server::BaseServer;
use crate::request_handler::{HandlerFactory, run_handler};
use crate::requests::datagram_request::DatagramRequest;
use crate::running::layer_handle::LayerHandle;
use crate::server::{Serve, Server};
use crate::servers::server_socket::ServerSocket;
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::transport::bound_file::FileAccess;
use crate::transport::datagram_inbox::Datagram;
use crate::transport::datagram_inboxes::DatagramInboxes;
use crate::transport::datagram_socket::prepare_replies;
use crate::transport::get_request_error::GetRequestError;
use crate::transport::per_process::PerProcess;
use crate::values::error::{Error, HandlerResult};
use crate::values::inet_address::InetAddress;
use crate::values::request_event::Refusal;

/// The bound of `max_packet_size`, in bytes: longer than any datagram.
const LONGEST_PACKET: usize = 16 << 20;

/// Serves UDP datagrams, one at a time unless a mix-in is around it.
///
/// Python's `UDPServer`. Each datagram, even an empty one, is a request of its own. One socket
/// receives from all clients and sends all replies.
///
/// In [`serve_forever`](crate::Server::serve_forever), one system call receives up to 32 datagrams,
/// at most 1 MiB in all, on a system with recvmmsg(2), such as Linux. If the loop stops, the next
/// loop serves the datagrams that are left before it receives others.
/// [`handle_request`](crate::Server::handle_request) receives one datagram. So a program that polls
/// the descriptor itself sees that further datagrams wait.
///
/// The server sends a reply from the address to which the client sent its datagram. On Linux it
/// does so under a wildcard address too (`0.0.0.0`, `[::]`): see
/// [`DatagramRequest::local_address`]. A datagram whose sender is the server itself is
/// [refused](crate::Refusal::FromItself), since the server would receive its reply as the next
/// request.
///
/// ```
/// use std::io::Write;
/// use socketserver::{DatagramRequest, HandlerResult, RequestHandler, Serve, UdpServer};
///
/// struct Hi;
///
/// impl RequestHandler<DatagramRequest> for Hi {
///     fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
///         Ok(request.write_all(b"hi")?)
///     }
/// }
///
/// let server = UdpServer::new("127.0.0.1:0", || Hi).max_packet_size(1024).bind()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
#[doc(alias = "UDPServer")]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct UdpServer<F> {
    socket: ServerSocket,
    handler_factory: F,
    longest_packet: usize,
    /// A process that the program has forked has inboxes of its own.
    inboxes: PerProcess<Mutex<DatagramInboxes>>,
}

impl<F: HandlerFactory<DatagramRequest>> UdpServer<F> {
    /// Makes a bottom layer that is to receive on `address`, and makes its handlers with
    /// `handler_factory`.
    ///
    /// [`bind`](crate::Serve::bind) creates the socket, so this cannot fail.
    pub fn new(address: impl Into<InetAddress>, handler_factory: F) -> Self {
        Self::over(
            ServerSocket::inet(address.into(), Type::DGRAM),
            handler_factory,
        )
    }

    /// Makes a server of this layer alone, with the default options, bound and listening:
    /// `UdpServer::bind("127.0.0.1:9999", Handler::default)`. Python's constructor.
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
    /// as systemd, or a member of a multicast group.
    ///
    /// The [server's address](crate::Server::server_address) is that of the socket. Datagrams that
    /// have arrived are served. A `UdpSocket` can be made [of an `OwnedFd`](OwnedFd).
    ///
    /// * The server owns the descriptor, and sets `FD_CLOEXEC` on it. The close of the server
    ///   closes the descriptor, and does not shut the socket down.
    /// * [`server_activate`](crate::Server::server_activate) clears `O_NONBLOCK` and sets
    ///   `SO_SNDTIMEO`. So a reply waits for room in the send buffer, but not without end. All
    ///   copies of the descriptor share both settings.
    /// * The options that the server sets before bind(2) are not available. After
    ///   [`allow_reuse_address`](Self::allow_reuse_address),
    ///   [`allow_reuse_port`](Self::allow_reuse_port) or [`only_v6`](Self::only_v6), with either
    ///   value, and after [`receive_buffer_size`](Self::receive_buffer_size),
    ///   [`bind`](crate::Serve::bind) fails with [`Error::SetOption`].
    /// * If the descriptor is not a datagram socket, `bind` fails with [`Error::GivenSocket`].
    ///
    /// In Python a program passes `bind_and_activate=False`, and assigns to `server.socket`.
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// use socketserver::{Serve, UdpServer};
    /// # use socketserver::{DatagramRequest, HandlerResult, RequestHandler};
    /// # struct Nothing;
    /// # impl RequestHandler<DatagramRequest> for Nothing {
    /// #     fn handle(&mut self, _: &mut DatagramRequest) -> HandlerResult { Ok(()) }
    /// # }
    /// let socket = UdpSocket::bind("127.0.0.1:0")?;
    /// let address = socket.local_addr()?;
    /// let server = UdpServer::from_socket(socket, || Nothing).bind()?;
    /// assert_eq!(server.local_addr(), Some(address));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_socket(socket: UdpSocket, handler_factory: F) -> Self {
        Self::given(socket.into(), handler_factory)
    }

    /// Makes the layer as [`from_socket`](Self::from_socket) does, of a socket of any family.
    pub(crate) fn given(socket: OwnedFd, handler_factory: F) -> Self {
        Self::over(ServerSocket::given(socket, Type::DGRAM), handler_factory)
    }

    /// Makes the layer as [`new`](Self::new) does, over Unix sockets, for
    /// [`UnixDatagramServer`](crate::UnixDatagramServer).
    pub(crate) fn unix(path: PathBuf, handler_factory: F) -> Self {
        Self::over(ServerSocket::unix(path, Type::DGRAM), handler_factory)
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
        Self {
            socket,
            handler_factory,
            longest_packet: 8192,
            inboxes: PerProcess::new(),
        }
    }

    /// Sets the largest number of bytes that the server receives of a datagram; 8192 unless set, as
    /// in Python, and at most 16 MiB. The rest of a longer datagram is lost, and
    /// [`DatagramRequest::is_truncated`] returns true. Over IPv4 the longest datagram has 65,507
    /// bytes.
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.longest_packet = bytes.min(LONGEST_PACKET);
        self
    }

    /// Sets `SO_RCVBUF`: how many bytes of datagrams may wait for the server, each counted with a
    /// few hundred bytes of the kernel's own. Unless set, the system decides: Linux takes
    /// `net.core.rmem_default`, often 212,992 bytes. Python has no counterpart.
    ///
    /// A server whose clients send in bursts, such as a collector of log lines, needs a larger
    /// buffer. The kernel drops the datagrams that do not fit, and
    /// [`Statistics::dropped`](crate::Statistics::dropped) is their number. Linux allows at most
    /// `net.core.rmem_max`; the log has a warning if the server asks for more.
    #[doc(alias = "SO_RCVBUF")]
    pub fn receive_buffer_size(mut self, bytes: usize) -> Self {
        self.socket.listening.options.receive_buffer = Some(bytes);
        self
    }

    /// Sets `SO_REUSEADDR`: whether another socket with the option may have the same port, as for
    /// multicast. False unless set, as in Python.
    pub fn allow_reuse_address(mut self, allow: bool) -> Self {
        self.socket.listening.options.reuse_address = Some(allow);
        self
    }

    /// Sets `SO_REUSEPORT`: whether several servers may have the port at once, and share its
    /// clients. False unless set, as in Python.
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

impl<F: HandlerFactory<DatagramRequest>> BaseServer for UdpServer<F> {
    type Request = DatagramRequest;

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
        // A datagram socket has no listen(2).
        self.socket.open()?;
        let ready = self.socket.listening.each_socket(prepare_replies);
        self.socket.listening.end_claim();
        if let Ok(sockets) = self.socket.listening.opened() {
            self.layer_handle().shared().dropped().watch(sockets.iter());
        }
        ready.map_err(|(address, source)| Error::activate(address, source))
    }

    fn get_request(&self) -> Result<DatagramRequest, GetRequestError> {
        let ahead = self.layer_handle().shared().may_receive_ahead();
        let inboxes = |_: Option<&_>| Mutex::new(DatagramInboxes::new(self.longest_packet));
        let mut inboxes = lock(self.inboxes.get_or_init(inboxes));
        if !inboxes.is_open() {
            inboxes.open(&self.socket.listening.opened()?);
        }
        let Datagram {
            buffers,
            truncated,
            is_own,
            client,
            destination,
            socket,
        } = match self.layer_handle().shared().lifecycle().is_handed_over() {
            true => inboxes.next_received()?,
            false => inboxes.next(ahead)?,
        };
        let shared = self.layer_handle().shared();
        shared.set_socket_reports_all(!inboxes.has_batch());
        let mut guard = self.layer_handle().register_request(client);
        if is_own {
            guard.refuse(Refusal::FromItself);
        }
        Ok(DatagramRequest::pooled(
            buffers,
            truncated,
            socket,
            destination,
            guard,
        ))
    }

    fn finish_request(&self, request: &mut DatagramRequest) -> HandlerResult {
        let mut handler = self.handler_factory.make_handler();
        run_handler(&mut handler, request)
    }

    fn server_close(&self) {
        // Reads the number of dropped datagrams for the last time, before the sockets are closed.
        self.layer_handle().shared().dropped().count();
        self.socket.close();
        if let Some(inboxes) = self.inboxes.get() {
            lock(inboxes).close();
        }
    }
}

impl<F> fmt::Debug for UdpServer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpServer")
            .field("socket", &self.socket)
            .field("max_packet_size", &self.longest_packet)
            .finish_non_exhaustive()
    }
}
