//! The body of a request, read while its client sends.

use std::fmt;
use std::io::{self, BufRead, Read};

use ::http::header::HeaderMap;
use socketserver::{Address, ServerHandle, StreamRequest};

use super::transfer::Transfer;

/// The body of a request, which is read from the connection while the client sends. Reads return
/// the end of file at the end of the body, whether the client has sent a length or chunks.
///
/// The rest of a body that a handler does not read is discarded after the response, up to 64 KiB.
/// If there is more, the connection is closed. A client that waits for `100 Continue` receives that
/// response before the first read.
///
/// Python's counterpart is `self.rfile`, which has neither an end nor chunks: a handler reads
/// `Content-Length` itself.
///
/// # Errors
///
/// A read returns the errors of the connection, and a [`BodyError`](super::BodyError) for a body
/// that is too large, not valid or incomplete. A handler passes them on with `?`, and the client
/// receives the right status.
#[doc(alias = "rfile")]
pub struct RequestBody<'a> {
    connection: &'a mut StreamRequest,
    transfer: &'a mut Transfer,
}

impl<'a> RequestBody<'a> {
    pub(super) fn new(connection: &'a mut StreamRequest, transfer: &'a mut Transfer) -> Self {
        Self {
            connection,
            transfer,
        }
    }

    /// The connection, for its addresses, and for what layers keep with it. Python's
    /// `self.connection`.
    #[must_use]
    pub fn connection(&self) -> &StreamRequest {
        self.connection
    }

    /// The client's address. Python's `self.client_address`.
    #[must_use]
    pub fn client_address(&self) -> &Address {
        self.connection.client_address()
    }

    /// The handle of the server. Python's `self.server`.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        self.connection.server()
    }

    /// Whether the body has been read to its end. True at once for a request without a body.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.transfer.is_at_end()
    }

    /// The headers that the client has sent behind a chunked body. Empty before the end of the
    /// body, and if there are no such headers.
    #[must_use]
    pub fn trailers(&self) -> &HeaderMap {
        self.transfer.trailers()
    }
}

impl Read for RequestBody<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.transfer.read(self.connection, buffer)
    }
}

impl BufRead for RequestBody<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.transfer.fill_buf(self.connection)
    }

    fn consume(&mut self, amount: usize) {
        self.transfer.consume(self.connection, amount);
    }
}

impl fmt::Debug for RequestBody<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("client", self.client_address())
            .field("transfer", &self.transfer)
            .finish()
    }
}
