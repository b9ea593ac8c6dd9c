//! What every kind of request has in common.

use std::io;

use crate::running::extensions::Extensions;
use crate::running::request_guard::RequestGuard;
use crate::values::address::Address;

/// One request: a connection, or a datagram.
///
/// Python passes `request` and `client_address` side by side; here a request knows its client.
///
/// The framework has [`StreamRequest`](crate::StreamRequest) and
/// [`DatagramRequest`](crate::DatagramRequest). A bottom layer of a new kind may have a type of its
/// own, which keeps the [guard](Self::guard) of its registration.
pub trait Request: Send + 'static {
    /// Its place among the running requests of its server.
    fn guard(&self) -> &RequestGuard;

    /// The same place, to change it.
    fn guard_mut(&mut self) -> &mut RequestGuard;

    /// Drops all but the guard, so that the descriptor is closed when the guard ends the request.
    fn into_guard(self) -> RequestGuard;

    /// Who sent it.
    fn client_address(&self) -> &Address {
        self.guard().client_address()
    }

    /// What layers keep with it.
    fn extensions(&self) -> &Extensions {
        self.guard().extensions()
    }

    /// What layers keep with it, to add to it.
    fn extensions_mut(&mut self) -> &mut Extensions {
        self.guard_mut().extensions_mut()
    }

    /// Sends the client `message` without waiting, before the request is closed because of a
    /// [limit](crate::Limits). Does nothing unless overridden.
    fn refuse(&mut self, message: &[u8]) {
        let _ = message;
    }

    /// Sends what the handler has written and that is not sent yet. It is called once, after the
    /// handler, with whether the handler succeeded. Does nothing unless overridden.
    ///
    /// # Errors
    ///
    /// If it cannot be sent.
    fn send_rest(&mut self, succeeded: bool) -> io::Result<()> {
        let _ = succeeded;
        Ok(())
    }

    /// The first [`prepare_request`](crate::BaseServer::prepare_request) is about to be called.
    /// Does nothing unless overridden.
    fn begin_preparation(&mut self) {}

    /// Waits until there are more bytes than a preparation has found. Returns false if no more
    /// come: the client has ended its side, or the server is draining.
    ///
    /// # Errors
    ///
    /// Whatever ends the wait, a deadline among it. A request that comes whole, as a datagram does,
    /// has no more bytes, and fails with [`Unsupported`](io::ErrorKind::Unsupported), which is the
    /// default.
    fn wait_for_more(&mut self) -> io::Result<bool> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a layer asks for more bytes of a request that has come whole",
        ))
    }

    /// The last [`prepare_request`](crate::BaseServer::prepare_request) has returned. Does nothing
    /// unless overridden.
    fn end_preparation(&mut self) {}
}
