//! The bottom layer over UDP.

use crate::support::sync::Mutex;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use socket2::Type;

use crate::base_server::BaseServer;
use crate::request_handler::{HandlerFactory, run_handler};
use crate::requests::datagram_request::DatagramRequest;
use crate::running::layer_handle::LayerHandle;
use crate::servers::server_socket::ServerSocket;
use crate::support::lock::lock;
use crate::transport::datagram_socket::{bound_replies, receive_now};
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::InetAddress;
use crate::values::error::{Error, HandlerResult};

/// The bound of `max_packet_size`, in bytes: more than any system carries.
const LONGEST_PACKET: usize = 16 << 20;

/// Serves UDP datagrams, one at a time unless a mix-in is around it.
///
/// Python's `UDPServer`. Each datagram is a request of its own, also when it is empty. The socket
/// is one for all clients: replies leave through it.
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
pub struct UdpServer<F> {
    socket: ServerSocket,
    max_packet_size: usize,
    handler_factory: F,
    /// Where datagrams are received: one byte longer than the longest, to see what is cut off.
    packet: Mutex<Vec<u8>>,
}

impl<F> UdpServer<F> {
    /// A server that is to listen on `address`, and makes its handlers with `handler_factory`.
    ///
    /// Nothing happens before [`bind`](crate::Serve::bind), so nothing can fail yet.
    pub fn new(address: impl Into<InetAddress>, handler_factory: F) -> Self {
        Self::over(
            ServerSocket::inet(address.into(), Type::DGRAM),
            handler_factory,
        )
    }

    /// The same over Unix sockets, for [`UnixDatagramServer`](crate::UnixDatagramServer).
    pub(crate) fn unix(path: PathBuf, handler_factory: F) -> Self {
        Self::over(ServerSocket::unix(path, Type::DGRAM), handler_factory)
    }

    fn over(socket: ServerSocket, handler_factory: F) -> Self {
        Self {
            socket,
            max_packet_size: 8192,
            handler_factory,
            packet: Mutex::default(),
        }
    }

    /// The most bytes of a datagram that are received; 8192 unless set, as in Python, and at most
    /// 16 MiB. Of a longer one the rest is lost, and [`DatagramRequest::is_truncated`] says so. The
    /// longest that UDP carries is 65,507 over IPv4.
    #[must_use]
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.max_packet_size = bytes.min(LONGEST_PACKET);
        self
    }

    /// Whether another socket that allows it too may have the same port (`SO_REUSEADDR`), which is
    /// for multicast; false unless set.
    #[must_use]
    pub fn allow_reuse_address(mut self, allow: bool) -> Self {
        self.socket.listening.options.reuse_address = allow;
        self
    }

    /// Whether several servers may have the port at once, and share its clients (`SO_REUSEPORT`);
    /// false unless set.
    #[must_use]
    pub fn allow_reuse_port(mut self, allow: bool) -> Self {
        self.socket.listening.options.reuse_port = allow;
        self
    }

    /// Whether a server on an IPv6 address keeps IPv4 clients out (`IPV6_V6ONLY`); false unless
    /// set, on every system. In Python the system decides.
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.socket.listening.options.only_v6 = only;
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
        // There is nothing to listen for.
        let socket = self.socket.open()?;
        let ready = bound_replies(&socket);
        self.socket.listening.claim_ends();
        ready.map_err(|source| Error::activate(self.socket.address(), source))
    }

    fn get_request(&self) -> Result<DatagramRequest, GetRequestError> {
        let socket = self.socket.listening.opened()?;
        let mut buffer = lock(&self.packet);
        buffer.resize(self.max_packet_size + 1, 0);
        let (length, client) = receive_now(&socket, &mut buffer)?;
        let packet = &buffer[..length.min(self.max_packet_size)];
        let guard = self.layer_handle().register_request(client);
        Ok(DatagramRequest::new(
            packet.into(),
            length > self.max_packet_size,
            socket,
            guard,
        ))
    }

    fn finish_request(&self, request: &mut DatagramRequest) -> HandlerResult {
        let mut handler = self.handler_factory.make_handler();
        run_handler(&mut handler, request)
    }

    fn server_close(&self) {
        self.socket.listening.close();
    }
}

impl<F> fmt::Debug for UdpServer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpServer")
            .field("socket", &self.socket)
            .field("max_packet_size", &self.max_packet_size)
            .finish_non_exhaustive()
    }
}
