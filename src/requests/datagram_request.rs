//! The request of a datagram server: one packet, and the reply to it.

use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use crate::requests::request::Request;
use crate::running::request_guard::RequestGuard;
use crate::running::server_handle::ServerHandle;
use crate::transport::datagram_socket::{Buffers, DatagramSocket, ReplySocket};
use crate::transport::destination::Destination;
use crate::values::address::Address;

/// One datagram: the packet, its client's address, and the reply.
///
/// The counterpart of a `DatagramRequestHandler`'s `packet`, `client_address`, `rfile` and `wfile`.
/// The request implements [`Read`] and [`BufRead`] over the packet and [`Write`] into the reply, so
/// that a handler can be written as for a stream. When the handler has succeeded, the written bytes
/// are sent as *one* datagram. Without written bytes nothing is sent; Python sends an empty
/// datagram.
///
/// ```
/// use std::io::Write;
/// use socketserver::{DatagramRequest, HandlerResult, RequestHandler};
/// use socketserver::mock::MockDatagram;
///
/// struct Length;
///
/// impl RequestHandler<DatagramRequest> for Length {
///     fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
///         let length = request.packet().len();
///         write!(request, "{length}")?;
///         Ok(())
///     }
/// }
///
/// let recording = MockDatagram::new("four").run(Length);
/// assert_eq!(recording.sent(), [b"4"]);
/// ```
#[derive(Debug)]
#[doc(alias = "DatagramRequestHandler")]
pub struct DatagramRequest {
    pooled: Pooled,
    position: usize,
    truncated: bool,
    /// The address to which the client has sent, if it differs from the address of the socket.
    local_address: Option<Address>,
    guard: RequestGuard,
}

impl DatagramRequest {
    /// Makes a request of a received datagram, for a bottom layer over another transport.
    ///
    /// `packet` counts as received. `truncated` is the value of
    /// [`is_truncated`](Self::is_truncated). `socket` sends the datagrams of this request. `guard`
    /// is that of the [registered request](crate::layer::LayerHandle::register_request), and has
    /// the client's address.
    ///
    /// Python's `get_request` returns a tuple: the packet and the socket, then the client's
    /// address.
    ///
    /// ```
    /// use std::net::UdpSocket;
    /// use std::sync::Arc;
    /// use socketserver::layer::{GetRequestError, LayerHandle};
    /// use socketserver::{Address, DatagramRequest};
    ///
    /// /// `get_request` of a bottom layer. The socket is non-blocking.
    /// fn get_request(
    ///     socket: &Arc<UdpSocket>,
    ///     handle: &LayerHandle,
    /// ) -> Result<DatagramRequest, GetRequestError> {
    ///     let mut packet = vec![0; 1500];
    ///     let (length, client) = socket.recv_from(&mut packet)?;
    ///     packet.truncate(length);
    ///     let guard = handle.register_request(Address::from(client));
    ///     Ok(DatagramRequest::new(packet, false, socket.clone(), guard))
    /// }
    /// # let handle = LayerHandle::new();
    /// # let socket = Arc::new(UdpSocket::bind("127.0.0.1:0")?);
    /// # socket.send_to(b"hello", socket.local_addr()?)?;
    /// # assert_eq!(get_request(&socket, &handle).unwrap().packet(), b"hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn new(
        packet: Vec<u8>,
        truncated: bool,
        socket: Arc<dyn DatagramSocket>,
        guard: RequestGuard,
    ) -> Self {
        let buffers = Buffers {
            packet,
            reply: Vec::new(),
        };
        let reply_path = ReplyPath::Other(socket);
        Self::over(buffers, truncated, reply_path, None, guard)
    }

    /// Sets the [`local_address`](Self::local_address), for a bottom layer over another transport.
    ///
    /// The layer's [`DatagramSocket`] sends the reply, and so decides its source address. A socket
    /// that is made for each request can keep this address.
    #[must_use]
    pub fn with_local_address(mut self, address: impl Into<Address>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Makes a request whose buffers go back to the server's socket, and whose replies have the
    /// address that was `asked` as their source.
    pub(crate) fn pooled(
        buffers: Buffers,
        truncated: bool,
        socket: Arc<ReplySocket>,
        asked: Option<Destination>,
        guard: RequestGuard,
    ) -> Self {
        let local_address = asked.map(|destination| {
            let port = socket.bound_address().and_then(Address::port);
            destination.address(port.unwrap_or_default())
        });
        let source = asked.filter(Destination::is_unicast);
        let reply_path = ReplyPath::Server(socket, source);
        Self::over(buffers, truncated, reply_path, local_address, guard)
    }

    fn over(
        buffers: Buffers,
        truncated: bool,
        reply_path: ReplyPath,
        local_address: Option<Address>,
        guard: RequestGuard,
    ) -> Self {
        guard.traffic().count_received(buffers.packet.len() as u64);
        Self {
            pooled: Pooled {
                buffers,
                reply_path,
            },
            position: 0,
            truncated,
            local_address,
            guard,
        }
    }

    /// Returns the whole packet, whether or not the handler has read it; empty for an empty
    /// datagram.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.pooled.buffers.packet
    }

    /// Returns the packet, and the reply as far as it is written. With both, a handler can make the
    /// reply of the packet without a copy.
    ///
    /// ```
    /// # use socketserver::mock::MockDatagram;
    /// # let (mut request, _) = MockDatagram::new("abc").into_request();
    /// let (packet, reply) = request.packet_and_reply();
    /// reply.extend(packet.iter().rev());
    /// ```
    #[must_use]
    pub fn packet_and_reply(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.pooled.buffers.packet, &mut self.pooled.buffers.reply)
    }

    /// Returns whether the datagram was longer than the server's `max_packet_size`, so that its end
    /// is lost. Python has no counterpart.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Returns the client's address, to which the reply is sent. Python's `client_address`.
    #[must_use]
    pub fn client_address(&self) -> &Address {
        self.guard.client_address()
    }

    /// Returns the address to which the client has sent the datagram, with the port; `None` if the
    /// address is unknown.
    ///
    /// This is the server's address, unless the server is bound to a wildcard address, `0.0.0.0` or
    /// `[::]`. Then it is one of the addresses of the machine, or a broadcast or multicast address.
    /// The reply has this address as its source, unless it is a broadcast or multicast address. On
    /// systems other than Linux the address is unknown under a wildcard address, and the route to
    /// the client decides the source of the reply.
    ///
    /// A service or a log can use this address to distinguish the addresses of one server. Python
    /// has no counterpart: `getsockname` returns the wildcard address.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use socketserver::mock::MockDatagram;
    ///
    /// let asked = SocketAddr::from(([192, 0, 2, 7], 53));
    /// let (request, _) = MockDatagram::new("name").local_address(asked).into_request();
    /// assert_eq!(request.local_address(), Some(asked.into()));
    /// ```
    #[must_use]
    #[doc(alias = "local_addr")]
    #[doc(alias = "getsockname")]
    pub fn local_address(&self) -> Option<Address> {
        let of_socket = match &self.pooled.reply_path {
            ReplyPath::Server(socket, _) => socket.local_address(),
            ReplyPath::Other(_) => None,
        };
        self.local_address.as_ref().or(of_socket).cloned()
    }

    /// Returns the handle of the server: its address, its statistics, and the methods that stop it.
    /// Python's `self.server`.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.guard.server()
    }

    /// Sends `packet` to the client at once, as a datagram of its own, which may be empty. A
    /// handler needs this method for more than one reply; it simply writes a single reply.
    ///
    /// Python's `self.socket.sendto(packet, self.client_address)`.
    ///
    /// # Errors
    ///
    /// If the packet is too long for a datagram (65,507 bytes over IPv4), or if the client is a
    /// Unix socket without a name or has gone. Also if the system has had no room for the datagram
    /// for one second, because a Unix client does not read its datagrams.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let sent = self.reply(packet);
        self.note_sent(packet, sent, "")
    }

    fn reply(&self, packet: &[u8]) -> io::Result<()> {
        let client = self.client_address();
        match &self.pooled.reply_path {
            ReplyPath::Server(socket, source) => socket.reply(packet, client, source.as_ref()),
            ReplyPath::Other(socket) => socket.send_to(packet, client),
        }
    }

    /// Sends `packet` at once, from the server's socket, to `receiver`, which need not be the
    /// client. In this way a handler forwards a datagram, or publishes to other clients or to a
    /// multicast group. The bytes count as sent for this request.
    ///
    /// Under a wildcard address, a datagram to the client has the
    /// [`local_address`](Self::local_address) as its source, as a reply has. For any other receiver
    /// the system chooses the source address.
    ///
    /// Python's `self.socket.sendto(packet, receiver)`.
    ///
    /// ```
    /// use socketserver::mock::MockDatagram;
    /// use socketserver::{Address, DatagramRequest, HandlerResult, RequestHandler};
    ///
    /// /// Forwards each packet.
    /// struct Forward(Address);
    ///
    /// impl RequestHandler<DatagramRequest> for Forward {
    ///     fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
    ///         Ok(request.send_to(request.packet(), &self.0)?)
    ///     }
    /// }
    ///
    /// let collector = Address::from(([192, 0, 2, 1], 514));
    /// let recording = MockDatagram::new("line").run(Forward(collector.clone()));
    /// assert_eq!(recording.sent_with_addresses(), [(collector, b"line".to_vec())]);
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`send`](Self::send). Returns an error, too, if the server's socket is
    /// of another family than `receiver`, or may not send to it: a broadcast address needs
    /// `SO_BROADCAST`.
    pub fn send_to(&self, packet: &[u8], receiver: &Address) -> io::Result<()> {
        let sent = if receiver == self.client_address() {
            self.reply(packet)
        } else {
            self.socket().send_to(packet, receiver)
        };
        self.note_sent(packet, sent, format_args!(" to {receiver}"))
    }

    fn socket(&self) -> &dyn DatagramSocket {
        match &self.pooled.reply_path {
            ReplyPath::Server(socket, _) => &**socket,
            ReplyPath::Other(socket) => &**socket,
        }
    }

    /// Counts a datagram, or adds what was attempted to the error. `to` is the end of the added
    /// text.
    fn note_sent(
        &self,
        packet: &[u8],
        sent: io::Result<()>,
        to: impl fmt::Display,
    ) -> io::Result<()> {
        let length = packet.len();
        sent.map_err(|error| {
            let what = format!("cannot send a datagram of {length} bytes{to}: {error}");
            io::Error::new(error.kind(), what)
        })?;
        self.guard.traffic().count_sent(length as u64);
        Ok(())
    }

    /// Sends the written reply, unless it is empty.
    fn send_reply(&mut self) -> io::Result<()> {
        if self.pooled.buffers.reply.is_empty() {
            return Ok(());
        }
        let sent = self.send(&self.pooled.buffers.reply);
        self.pooled.buffers.reply.clear();
        sent
    }
}

impl Request for DatagramRequest {
    fn guard(&self) -> &RequestGuard {
        &self.guard
    }

    fn guard_mut(&mut self) -> &mut RequestGuard {
        &mut self.guard
    }

    fn into_guard(self) -> RequestGuard {
        let Self { guard, .. } = self;
        guard
    }

    fn send_rest(&mut self, succeeded: bool) -> io::Result<()> {
        if succeeded { self.send_reply() } else { Ok(()) }
    }

    /// Sends the written bytes and the message as one datagram. Sends nothing if both are empty, or
    /// if the client may be a server that refuses this server's datagrams.
    fn refuse(&mut self, message: &[u8]) {
        let mut reply = std::mem::take(&mut self.pooled.buffers.reply);
        reply.extend_from_slice(message);
        if !reply.is_empty() && self.guard.may_answer_refused() {
            // Fails if the client has no room now, or has gone.
            let client = self.client_address();
            let sent = match &self.pooled.reply_path {
                ReplyPath::Server(socket, source) => {
                    socket.reply_now(&reply, client, source.as_ref())
                }
                ReplyPath::Other(socket) => socket.send_to_now(&reply, client),
            };
            if sent.is_ok() {
                self.guard.traffic().count_sent(reply.len() as u64);
            }
        }
    }
}

impl BufRead for DatagramRequest {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.pooled.buffers.packet[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.pooled.buffers.packet.len());
    }
}

impl Read for DatagramRequest {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Write for DatagramRequest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pooled.buffers.reply.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: the reply is one datagram, which is sent when the handler has succeeded.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The buffers, which go back to the server's socket for a later request.
#[derive(Debug)]
struct Pooled {
    buffers: Buffers,
    reply_path: ReplyPath,
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if let ReplyPath::Server(socket, _) = &self.reply_path {
            socket.recycle(std::mem::take(&mut self.buffers));
        }
    }
}

/// The socket that sends the datagrams of a request.
#[derive(Debug)]
enum ReplyPath {
    /// The server's socket, and the address from which the reply leaves if not from that of the
    /// socket.
    Server(Arc<ReplySocket>, Option<Destination>),
    Other(Arc<dyn DatagramSocket>),
}
