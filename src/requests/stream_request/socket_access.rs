//! The socket under a request: handlers give it away, or ask for its peer and its address.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use socket2::SockRef;

use crate::requests::stream_request::StreamRequest;
use crate::transport::absent_stream::AbsentStream;
use crate::transport::sys::{self, PeerCredentials};
use crate::values::address::Address;

/// A connection that [`detach`](StreamRequest::detach) has taken out of its request.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The connected socket, in blocking mode.
    pub socket: OwnedFd,
    /// The bytes that were received and not yet read. They come before the bytes of the socket.
    pub unread: Vec<u8>,
}

impl StreamRequest {
    /// Gives the connection to a library that needs the socket itself, such as an SSH transport or
    /// another runtime. The written bytes and the messages of the [outbox](Self::outbox) are sent
    /// first, and the outbox is closed.
    ///
    /// From then on the request has no connection: reads and writes fail, and the end of the
    /// request does not shut the connection down. The request counts as running until its handler
    /// returns. Python's counterpart is `self.request.detach()`.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) without a network, and if a layer changes the bytes,
    /// which a library could not read. The errors of [`flush`](Write::flush). Also if the operating
    /// system has no descriptor for the copy of the socket.
    pub fn detach(&mut self) -> io::Result<Detached> {
        self.deliver_outbox()?;
        self.flush()?;
        self.own_socket("detach")?;
        // The copy of the descriptor stays open when this request closes its own.
        let socket = self.own_socket("detach")?.try_clone_to_owned()?;
        // The stream leaves its bounds in `SO_RCVTIMEO`, which a library does not expect.
        SockRef::from(&socket).set_read_timeout(None)?;
        let (unread, failure) = self.read_buffer.take();
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.stream = Box::new(AbsentStream::Detached);
        self.close_connection();
        // A later message cannot reach the client, and its sender receives an error.
        self.outbox = None;
        Ok(Detached { socket, unread })
    }

    /// Returns the process at the other end of a Unix socket, as it was when it connected:
    /// `SO_PEERCRED`.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) without a network, and on an operating system that
    /// does not report the process; the errors of the operating system.
    pub fn peer_credentials(&self) -> io::Result<PeerCredentials> {
        sys::peer_credentials(self.own_socket("ask for the peer of")?)
    }

    /// Returns the address that the client has connected to: one of the
    /// [server's addresses](crate::Server::server_addresses). If the server is bound to a wildcard
    /// address, it is the address of this machine. `None` without a network, unless
    /// [the mock](crate::mock::MockStream::local_address) sets it. Python's
    /// `self.request.getsockname()`.
    ///
    /// ```
    /// use socketserver::mock::MockStream;
    ///
    /// let here = ([192, 0, 2, 7], 80);
    /// let (request, _) = MockStream::new().local_address(here).into_request();
    /// assert_eq!(request.local_address(), Some(here.into()));
    /// ```
    #[must_use]
    #[doc(alias = "local_addr")]
    #[doc(alias = "getsockname")]
    pub fn local_address(&self) -> Option<Address> {
        self.stream.local_address()
    }

    fn own_socket(&self, purpose: &str) -> io::Result<BorrowedFd<'_>> {
        self.stream.socket().ok_or_else(|| {
            io::Error::new(
                ErrorKind::Unsupported,
                format!("cannot {purpose} the socket: there is none, or a layer changes its bytes"),
            )
        })
    }
}
