//! What every kind of request has in common.

use crate::running::active_request::ActiveRequest;
use crate::values::address::Address;

/// One request: a connection, or a datagram.
///
/// Python passes `request` and `client_address` side by side; here a request knows where it comes
/// from.
pub trait Request: Send + 'static {
    /// Its place among the running requests of its server.
    fn active(&self) -> &ActiveRequest;

    /// The same, for the layer that hands the request on.
    fn active_mut(&mut self) -> &mut ActiveRequest;

    /// Who sent it.
    fn client_address(&self) -> &Address {
        self.active().client_address()
    }

    /// Tells the client, without waiting for it, that it will not be served: before the request is
    /// closed because of a [limit](crate::Limits). Does nothing unless overridden.
    fn turn_away(&mut self, message: &[u8]) {
        let _ = message;
    }
}
