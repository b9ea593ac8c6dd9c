//! The proxy of a request, and its header.

use crate::mix_ins::proxy_protocol::header::ProxyHeader;
use crate::requests::stream_request::StreamRequest;
use crate::values::address::Address;

/// The proxy of a request and its header, in the request's extensions.
pub(super) struct Proxied {
    pub proxy: Address,
    pub header: ProxyHeader,
}

impl StreamRequest {
    /// The address of the trusted proxy that has connected, if
    /// [`ProxyProtocolMixIn`](crate::ProxyProtocolMixIn) has read its header; then
    /// [`client_address`](Self::client_address) is the client's. Python has no counterpart.
    #[must_use]
    pub fn proxy_address(&self) -> Option<&Address> {
        Some(&self.extensions().get::<Proxied>()?.proxy)
    }

    /// The header of the trusted proxy, if [`ProxyProtocolMixIn`](crate::ProxyProtocolMixIn) has
    /// read it. Python has no counterpart.
    #[must_use]
    pub fn proxy_header(&self) -> Option<&ProxyHeader> {
        Some(&self.extensions().get::<Proxied>()?.header)
    }
}
