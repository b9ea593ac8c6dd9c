//! Who is notified of the events of requests.

use std::fmt;

use crate::values::address::Address;
use crate::values::request_event::RequestEvent;

/// The layers of a server, as far as events are concerned.
///
/// `base_server.rs` implements it for every stack of layers, so that a running server can emit an
/// event and knows no hook.
pub(crate) trait Events: Send + Sync {
    /// Emits an event of this client's request to the outermost layer.
    fn emit(&self, client: &Address, event: &RequestEvent);
}

impl fmt::Debug for dyn Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the layers")
    }
}
