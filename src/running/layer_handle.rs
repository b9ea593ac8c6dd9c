//! A server as its own layers see it.

use std::sync::Arc;

use crate::running::request_guard::RequestGuard;
use crate::running::server_handle::ServerHandle;
use crate::running::shared::Shared;
use crate::transport::connection::Connection;
use crate::values::address::Address;

/// A server as its own layers see it: what a bottom layer makes and registers its requests with,
/// and how a mix-in wakes the loop.
///
/// The bottom layer makes one with [`new`](Self::new), returns it from
/// [`BaseServer::layer_handle`](crate::BaseServer::layer_handle), and sets the addresses. Every
/// layer reaches it by that hook. What handlers and other threads see of the server is
/// [`server`](Self::server).
#[derive(Debug, Clone)]
pub struct LayerHandle {
    server: ServerHandle,
}

impl LayerHandle {
    /// The handle of a new server, which has no address yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            server: ServerHandle::new(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.server.shared()
    }

    /// The server as its handlers and other threads see it.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// Sets the address that was requested, which errors name before and while the socket is bound.
    /// Only the first call has an effect.
    pub fn set_requested_address(&self, address: Address) {
        self.shared().set_requested_address(address);
    }

    /// Sets the real address, once the socket is bound. Only the first call has an effect.
    pub fn set_server_address(&self, address: Address) {
        self.shared().set_server_address(address);
    }

    /// Registers a request of this client, without a connection of its own, such as a datagram,
    /// among the running requests. A bottom layer calls it in
    /// [`get_request`](crate::BaseServer::get_request).
    ///
    /// A connection is registered by
    /// [`StreamRequest::from_socket`](crate::StreamRequest::from_socket).
    #[must_use]
    pub fn register_request(&self, client_address: Address) -> RequestGuard {
        RequestGuard::new(self.server.clone(), client_address, None)
    }

    pub(crate) fn register_connection(
        &self,
        client_address: Address,
        connection: Arc<Connection>,
    ) -> RequestGuard {
        RequestGuard::new(self.server.clone(), client_address, Some(connection))
    }

    /// Wakes the loop, so that it asks again whether every layer
    /// [is ready](crate::BaseServer::is_ready). A layer calls it when it was not ready and now is.
    #[doc(alias = "notify")]
    pub fn wake(&self) {
        self.shared().wake();
    }

    /// Waits until no request runs in this process, as `server_close` of a mix-in that hands
    /// requests to others does. Returns true if none runs.
    ///
    /// Idle handlers have been interrupted before. At the server's
    /// [drain timeout](crate::Server::set_drain_timeout), the connections of the other requests are
    /// shut down, so that blocked reads and writes end, and a request that has not begun does not
    /// begin. If a request still runs after a further second, this returns false.
    pub fn wait_for_requests(&self) -> bool {
        self.shared().wait_for_requests()
    }
}

impl Default for LayerHandle {
    fn default() -> Self {
        Self::new()
    }
}
