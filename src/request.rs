//! What every kind of request has in common.

use crate::active_request::ActiveRequest;
use crate::address::Address;

/// One request: a connection, or a datagram.
///
/// Python passes `request` and `client_address` side by side; here a request knows where it comes
/// from.
pub trait Request: Send + 'static {
    /// Who sent it.
    fn client_address(&self) -> &Address;

    /// Its place among the running requests of its server.
    fn active(&self) -> &ActiveRequest;
}
