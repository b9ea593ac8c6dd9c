//! The request of a datagram server: one packet, and the reply to it.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use crate::requests::request::Request;
use crate::running::request_guard::RequestGuard;
use crate::running::server_handle::ServerHandle;
use crate::transport::datagram_socket::{Buffers, DatagramSocket};
use crate::values::address::Address;

/// One datagram: the packet, who sent it, and the reply.
///
/// The counterpart of a `DatagramRequestHandler`'s `packet`, `client_address`, `rfile` and `wfile`.
/// It implements [`Read`] and [`BufRead`] over the packet and [`Write`] into the reply, so a
/// handler can be written as if for a stream. What was written leaves as *one* datagram when the
/// handler has succeeded; if nothing was written, nothing is sent (Python then sends an empty
/// datagram).
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
    lent: Lent,
    position: usize,
    truncated: bool,
    guard: RequestGuard,
}

/// The socket, and the buffers that a later request of the socket uses again.
#[derive(Debug)]
struct Lent {
    buffers: Buffers,
    socket: Arc<dyn DatagramSocket>,
}

impl DatagramRequest {
    pub(crate) fn new(
        buffers: Buffers,
        truncated: bool,
        socket: Arc<dyn DatagramSocket>,
        guard: RequestGuard,
    ) -> Self {
        guard.traffic().count_received(buffers.packet.len() as u64);
        Self {
            lent: Lent { buffers, socket },
            position: 0,
            truncated,
            guard,
        }
    }

    /// The whole packet, however much of it has been read; empty if an empty datagram came.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.lent.buffers.packet
    }

    /// The packet together with the reply as far as it is written, to make one out of the other.
    ///
    /// ```
    /// # use socketserver::mock::MockDatagram;
    /// # let (mut request, _) = MockDatagram::new("abc").into_request();
    /// let (packet, reply) = request.packet_and_reply();
    /// reply.extend(packet.iter().rev());
    /// ```
    #[must_use]
    pub fn packet_and_reply(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.lent.buffers.packet, &mut self.lent.buffers.reply)
    }

    /// Whether the datagram was longer than the server's `max_packet_size`, so that its end is
    /// lost. Python cannot know that.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// Who sent it, and gets the reply.
    #[must_use]
    pub fn client_address(&self) -> &Address {
        self.guard.client_address()
    }

    /// The server, as Python's `self.server`: its address, its numbers, and how to stop it.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.guard.server()
    }

    /// Sends `packet` to the client at once, as a datagram of its own, which may be empty. For more
    /// than one reply; a single one is simply written.
    ///
    /// Python's `self.socket.sendto(packet, self.client_address)`.
    ///
    /// # Errors
    ///
    /// If the packet is too long for a datagram (65,507 bytes over IPv4), the client is a Unix
    /// socket without a name or has gone, or the system has had no room for it for one second, as
    /// when a Unix client does not take its datagrams.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let sent = self.lent.socket.send_to(packet, self.client_address());
        sent.map_err(|error| {
            let what = format!("cannot send a datagram of {} bytes: {error}", packet.len());
            io::Error::new(error.kind(), what)
        })?;
        self.guard.traffic().count_sent(packet.len() as u64);
        Ok(())
    }

    /// Sends what was written, if anything was.
    fn send_reply(&mut self) -> io::Result<()> {
        if self.lent.buffers.reply.is_empty() {
            return Ok(());
        }
        let sent = self.send(&self.lent.buffers.reply);
        self.lent.buffers.reply.clear();
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
        self.guard
    }

    fn send_rest(&mut self, succeeded: bool) -> io::Result<()> {
        if succeeded { self.send_reply() } else { Ok(()) }
    }

    /// An empty message is none.
    fn refuse(&mut self, message: &[u8]) {
        if !message.is_empty() {
            // It fails if the client takes none now, or has gone.
            let sent = self.lent.socket.send_to_now(message, self.client_address());
            if sent.is_ok() {
                self.guard.traffic().count_sent(message.len() as u64);
            }
        }
    }
}

impl BufRead for DatagramRequest {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.lent.buffers.packet[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.lent.buffers.packet.len());
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
        self.lent.buffers.reply.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    /// Does nothing: a reply is one datagram, sent when the handler has ended.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.socket.recycle(std::mem::take(&mut self.buffers));
    }
}
