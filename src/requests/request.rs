//! The contract of every kind of request.

use std::io;

use crate::requests::parking::Parking;
use crate::running::extensions::Extensions;
use crate::running::request_guard::RequestGuard;
use crate::values::address::Address;
use crate::values::error::HandlerResult;

/// One request: a connection or a datagram, with its client's address.
///
/// In Python, hooks have two parameters for this, `request` and `client_address`.
///
/// The framework has [`StreamRequest`](crate::StreamRequest) and
/// [`DatagramRequest`](crate::DatagramRequest). A bottom layer of a new kind may have a type of its
/// own, which owns the [guard](Self::guard) of its registration.
///
/// # The order of calls
///
/// 1. `begin_preparation`, before the first
///    [`prepare_request`](crate::BaseServer::prepare_request); `wait_for_more`, each time that the
///    hook needs more bytes; `end_preparation`, if the hook has succeeded.
/// 2. The handler reads and writes; then `send_rest`.
/// 3. `end_conversation`, whether or not a handler has run; then `into_guard`, when the request is
///    closed.
///
/// For a request that exceeds a limit or is not verified, `refuse` is called before
/// `end_conversation`, and no handler runs.
pub trait Request: Send + 'static {
    /// The guard of this request's registration.
    fn guard(&self) -> &RequestGuard;

    /// The guard of this request's registration, to change it.
    fn guard_mut(&mut self) -> &mut RequestGuard;

    /// Drops everything except the guard, so that the descriptor is closed before the guard ends
    /// the request. An implementation takes the guard out of the request before it drops the rest.
    /// If that drop panics, the guard still ends the request.
    fn into_guard(self) -> RequestGuard;

    /// The client's address.
    fn client_address(&self) -> &Address {
        self.guard().client_address()
    }

    /// The values that layers keep with this request.
    fn extensions(&self) -> &Extensions {
        self.guard().extensions()
    }

    /// The values that layers keep with this request, to change them.
    fn extensions_mut(&mut self) -> &mut Extensions {
        self.guard_mut().extensions_mut()
    }

    /// Sends the client the written bytes and `message` without waiting, before the request is
    /// closed without a handler. This method is called when the request exceeds a
    /// [limit](crate::Limits), and when [`verify_request`](crate::BaseServer::verify_request)
    /// returned false; then `message` is empty. Does nothing unless overridden.
    fn refuse(&mut self, message: &[u8]) {
        let _ = message;
    }

    /// Sends the written bytes that are still unsent. [`run_handler`](crate::layer::run_handler)
    /// calls this once, after the handler; `succeeded` is the handler's success. Does nothing
    /// unless overridden.
    ///
    /// # Errors
    ///
    /// If the bytes cannot be sent.
    fn send_rest(&mut self, succeeded: bool) -> io::Result<()> {
        let _ = succeeded;
        Ok(())
    }

    /// Ends the conversation: sends the bytes that are still unsent, and then ends the writing
    /// side, so that the client reads the end of the stream. Does nothing unless overridden, since
    /// a datagram has no such end.
    ///
    /// The default [`shutdown_request`](crate::BaseServer::shutdown_request) calls this before the
    /// close. Errors are ignored, since the client may have left. Python's counterpart is the call
    /// of `request.shutdown` in `TCPServer.shutdown_request`.
    fn end_conversation(&mut self) {}

    /// Begins the preparation, before the first
    /// [`prepare_request`](crate::BaseServer::prepare_request). Does nothing unless overridden.
    fn begin_preparation(&mut self) {}

    /// Waits until more bytes have arrived, or the client has ended its side. Returns false if the
    /// server is draining; then the request is aborted.
    ///
    /// # Errors
    ///
    /// The errors of the connection, and a missed deadline.
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the layers have seen the end of file
    /// already. Unless overridden, this method fails with
    /// [`Unsupported`](io::ErrorKind::Unsupported): a request that arrives complete, such as a
    /// datagram, has no more bytes.
    fn wait_for_more(&mut self) -> io::Result<bool> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "a layer needs more bytes of a request that has no more, such as a datagram",
        ))
    }

    /// Ends the preparation, after the last
    /// [`prepare_request`](crate::BaseServer::prepare_request). Does nothing unless overridden.
    fn end_preparation(&mut self) {}

    /// Calls `exchange` for every message: once unless overridden.
    #[doc(hidden)]
    fn exchanges(&mut self, exchange: &mut dyn FnMut(&mut Self) -> HandlerResult) -> HandlerResult
    where
        Self: Sized,
    {
        exchange(self)
    }

    /// The request as a connection that a reactor can park; `None` for a request of another kind.
    #[doc(hidden)]
    fn as_parking(&mut self) -> Option<&mut dyn Parking> {
        None
    }
}
