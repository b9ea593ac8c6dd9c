//! The receiver of the events of requests.

use std::fmt;

use crate::values::address::Address;
use crate::values::request_event::RequestEvent;

/// Emits events to the layers of a server, and checks whether a client waits at their socket.
///
/// `base_server.rs` implements the trait for every stack of layers, so that the files of this room
/// can do both without importing a hook.
pub(crate) trait Events: Send + Sync {
    /// Emits an event of this client's request to the outermost layer.
    fn emit(&self, client: &Address, event: &RequestEvent);

    /// Returns whether a client waits at the listening socket of the layers.
    fn has_client_at_socket(&self) -> bool;
}

impl fmt::Debug for dyn Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the layers")
    }
}
