//! The bottom layer over Unix datagram sockets.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::mix_in::MixIn;
use crate::request_handler::HandlerFactory;
use crate::requests::datagram_request::DatagramRequest;
use crate::server::{Serve, Server};
use crate::servers::udp::UdpServer;
use crate::values::error::Error;

/// Serves the datagrams of a Unix socket, one at a time unless a mix-in is around it.
///
/// Python's `UnixDatagramServer`, which derives from `UDPServer`; here it is a layer over
/// [`UdpServer`]. The two differ in the address and its file, as
/// [`UnixStreamServer`](crate::UnixStreamServer) and `TcpServer` do. Datagrams of Unix sockets are
/// neither lost nor reordered on their way. A client receives replies only if its own socket is
/// bound to a path or name.
///
/// Unread replies stay in the server's send buffer. So a client that never reads can delay each
/// reply to other clients by at most a second. After that second the reply fails.
///
/// ```
/// use socketserver::{Serve, UnixDatagramServer};
/// # use socketserver::{DatagramRequest, HandlerResult, RequestHandler};
/// # struct Nothing;
/// # impl RequestHandler<DatagramRequest> for Nothing {
/// #     fn handle(&mut self, _: &mut DatagramRequest) -> HandlerResult { Ok(()) }
/// # }
/// # let directory = support::short_paths::directory();
/// # let path = directory.path().join("socket");
/// let server = UnixDatagramServer::new(&path, || Nothing).max_packet_size(512).bind()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct UnixDatagramServer<F> {
    next: UdpServer<F>,
}

impl<F: HandlerFactory<DatagramRequest>> UnixDatagramServer<F> {
    /// Makes a bottom layer that is to receive on `path`, and makes its handlers with
    /// `handler_factory`.
    ///
    /// [`bind`](crate::Serve::bind) creates the socket, so this cannot fail.
    pub fn new(path: impl Into<PathBuf>, handler_factory: F) -> Self {
        let next = UdpServer::unix(path.into(), handler_factory);
        Self { next }
    }

    /// Makes a server of this layer alone, with the default options, bound and listening:
    /// `UnixDatagramServer::bind("example.sock", Handler::default)`. Python's constructor.
    ///
    /// For other options, and for a mix-in, begin with [`new`](Self::new), and end with the method
    /// [`bind`](Serve::bind) of the trait [`Serve`], which has to be in scope.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Serve::bind`].
    pub fn bind(path: impl Into<PathBuf>, handler_factory: F) -> Result<Server<Self>, Error> {
        Serve::bind(Self::new(path, handler_factory))
    }

    /// Makes a bottom layer over a socket that is bound already, as [`UdpServer::from_socket`]
    /// does. The server does not remove the socket's file: the program that has made the socket
    /// removes the file. [`remove_file`](Self::remove_file) changes that.
    pub fn from_socket(socket: UnixDatagram, handler_factory: F) -> Self {
        let next = UdpServer::given(socket.into(), handler_factory);
        Self { next }
    }

    /// Sets whether the server removes the file of a given socket when it is closed; false unless
    /// set. The successor in a restart sets this option, after the predecessor has
    /// [handed the socket over](crate::ServerHandle::hand_over). A server whose loop has never run
    /// leaves the file. A server that has made its socket itself removes the file in any case.
    /// Python has no counterpart.
    pub fn remove_file(mut self, remove: bool) -> Self {
        *self.next.owns_file() = remove;
        self
    }

    /// Sets the largest number of bytes that the server receives of a datagram: see
    /// [`UdpServer::max_packet_size`].
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.next = self.next.max_packet_size(bytes);
        self
    }

    /// Sets the mode of the socket's file, which decides who may send: see
    /// [`UnixStreamServer::mode`](crate::UnixStreamServer::mode). On a system other than Linux, a
    /// datagram that comes before the server has set the mode waits in the socket.
    #[doc(alias = "chmod")]
    pub fn mode(mut self, mode: u32) -> Self {
        self.next.file_access().mode = Some(mode);
        self
    }

    /// Sets the group of the socket's file, by its number: see
    /// [`UnixStreamServer::group`](crate::UnixStreamServer::group).
    #[doc(alias = "chown")]
    pub fn group(mut self, group_id: u32) -> Self {
        self.next.file_access().group = Some(group_id);
        self
    }
}

impl<F: HandlerFactory<DatagramRequest>> MixIn for UnixDatagramServer<F> {
    type Next = UdpServer<F>;

    fn next(&self) -> &UdpServer<F> {
        &self.next
    }
}
