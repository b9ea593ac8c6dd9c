//! The handle of a server for its layers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::Type;

use crate::running::ended::EndedHandshake;
use crate::running::request_guard::RequestGuard;
use crate::running::server_handle::ServerHandle;
use crate::running::shared::Shared;
use crate::running::thread_name::{thread_name, thread_name_over};
use crate::transport::connection::Connection;
use crate::values::address::Address;
use crate::values::request_event::{HandshakeResult, TlsVersion};

/// The handle of a server for its layers: a bottom layer registers requests with it, and a mix-in
/// wakes the loop with it.
///
/// The bottom layer makes the handle with [`new`](Self::new), sets the addresses, and returns the
/// handle from [`BaseServer::layer_handle`](crate::BaseServer::layer_handle), where every layer
/// finds it. [`server`](Self::server) is the handle for handlers and other threads. In Python, the
/// layers share these methods and attributes through `self`.
#[derive(Debug, Clone)]
pub struct LayerHandle {
    server: ServerHandle,
}

impl LayerHandle {
    /// Makes the handle of a new server, which has no address yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            server: ServerHandle::new(),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        self.server.shared()
    }

    /// Returns the handle of the same server for handlers and other threads.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// Sets the requested address, which errors name until the socket is bound. Only the first call
    /// has an effect.
    pub fn set_requested_address(&self, address: Address) {
        self.shared().set_requested_address(address);
    }

    /// Sets the real address of the bound socket. Only the first call has an effect.
    pub fn set_server_address(&self, address: Address) {
        self.set_server_addresses(vec![address]);
    }

    /// Sets the real addresses of the bound sockets, as
    /// [`set_server_address`](Self::set_server_address) does for a single socket. An empty list has
    /// no effect.
    pub fn set_server_addresses(&self, addresses: Vec<Address>) {
        if !addresses.is_empty() {
            self.shared().set_server_addresses(addresses);
        }
    }

    /// Registers a request that has no connection of its own, such as a datagram, and returns its
    /// guard. A bottom layer calls this in its [`get_request`](crate::BaseServer::get_request).
    ///
    /// [`StreamRequest::from_socket`](crate::StreamRequest::from_socket) registers a connection.
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

    /// Notes that the listening sockets are datagram sockets.
    pub(crate) fn note_datagrams(&self) {
        self.shared().note_datagrams();
    }

    /// Makes the server note when each request is started, for
    /// [`RequestEvent::Ended`](crate::RequestEvent::Ended). A layer that measures the time of
    /// service calls this when the layer is made. Without such a layer, the server does not read
    /// the clock.
    pub fn note_start_times(&self) {
        self.shared().note_start_times();
    }

    /// Emits [`RequestEvent::Handshake`](crate::RequestEvent::Handshake) to the layers. A layer
    /// that encrypts connections calls this. In a forked child, the call reports the handshake to
    /// the parent, which emits the event.
    pub fn emit_handshake(
        &self,
        client: &Address,
        result: HandshakeResult,
        version: Option<TlsVersion>,
        lasted: Duration,
    ) {
        let handshake = EndedHandshake {
            result,
            version,
            lasted,
        };
        self.shared().emit_handshake(client, &handshake);
    }

    /// Makes the name of a thread of this server. `socket` is the descriptor that the loop waits
    /// on, which is not a socket if the server has several addresses.
    pub(crate) fn thread_name(&self, socket: Option<&OwnedFd>, role: &str) -> String {
        let address = self.server.server_address();
        match self.shared().serves_datagrams() {
            true => thread_name_over(Some(Type::DGRAM), &address, role),
            false => thread_name(&address, socket, role),
        }
    }

    /// Wakes the loop, which asks again whether every layer
    /// [is ready](crate::BaseServer::is_ready). A layer calls this when it becomes ready.
    #[doc(alias = "notify")]
    pub fn wake(&self) {
        self.shared().wake();
    }

    /// Waits until no request runs in this process, and returns true then. A mix-in that serves
    /// requests in other threads calls this in its `server_close`.
    ///
    /// Idle handlers have been interrupted when `server_close` is called. At the server's
    /// [drain timeout](crate::Server::set_drain_timeout) this method aborts the other requests. It
    /// shuts their connections down, which ends blocked reads and writes, and closes requests that
    /// have not begun without a handler. Returns false if a request still runs a second later.
    pub fn wait_for_requests(&self) -> bool {
        self.shared().wait_for_requests()
    }
}

impl Default for LayerHandle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;
    use crate::values::limits::Limits;
    use crate::values::request_event::Refusal;

    fn client(ip: &str) -> Address {
        let ip: IpAddr = ip.parse().unwrap();
        SocketAddr::from((ip, 40_000)).into()
    }

    #[test]
    fn the_limit_per_address_counts_ipv6_clients_by_their_network() {
        let handle = LayerHandle::new();
        let limits = Limits::none().with_max_connections_per_address(1);
        handle.server().set_limits(limits.clone());
        let running = handle.register_request(client("2001:db8::1"));
        let exceeds = |ip| handle.register_request(client(ip)).limit_exceeded();
        assert_eq!(running.limit_exceeded(), None);
        let too_many = Some(Refusal::TooManyFromAddress);
        assert_eq!(exceeds("2001:db8::ffff:2"), too_many);
        assert_eq!(exceeds("2001:db8:0:1::1"), None);

        handle.server().set_limits(limits.with_ipv6_prefix(128));
        let running = handle.register_request(client("2001:db8::1"));
        assert_eq!(running.limit_exceeded(), None);
        assert_eq!(exceeds("2001:db8::1"), too_many);
        assert_eq!(exceeds("2001:db8::2"), None);
    }
}
