//! The contents of a PROXY header.

use std::fmt;
use std::str::from_utf8;

use proxy_header::{SslInfo, Tlv};

use crate::values::address::Address;

/// The PROXY header of a connection: the addresses at the proxy, and further statements of the
/// proxy.
///
/// [`StreamRequest::proxy_header`](crate::StreamRequest::proxy_header) returns it. The values are
/// the proxy's statements, so they deserve as much trust as the proxy. A header of version 1 has
/// addresses alone. Python has no counterpart.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyHeader {
    version: u8,
    is_local: bool,
    addresses: Option<Box<(Address, Address)>>,
    /// The values. Each follows its number and its length.
    values: Box<[u8]>,
}

impl ProxyHeader {
    pub(super) fn with_addresses(
        version: u8,
        source: Address,
        destination: Address,
        values: impl Into<Box<[u8]>>,
    ) -> Self {
        Self {
            version,
            is_local: false,
            addresses: Some(Box::new((source, destination))),
            values: values.into(),
        }
    }

    /// Makes the header of a connection whose client has no address that the proxy could state.
    pub(super) fn without_addresses(version: u8) -> Self {
        Self {
            version,
            is_local: false,
            addresses: None,
            values: Box::default(),
        }
    }

    pub(super) fn with_values(mut self, values: &[u8]) -> Self {
        self.values = values.into();
        self
    }

    /// Makes the header of a connection that the proxy has opened for itself.
    pub(super) fn local() -> Self {
        Self {
            is_local: true,
            ..Self::without_addresses(2)
        }
    }

    /// Returns the version of the protocol: 1 or 2.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Returns whether the proxy has opened the connection for itself (`LOCAL`), as for a health
    /// check. Such a connection carries no client.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Returns the client's address; `None` if the proxy does not know the address (`UNKNOWN`,
    /// `UNSPEC`), or if the proxy has opened the connection for itself.
    #[must_use]
    pub fn source(&self) -> Option<&Address> {
        Some(&self.addresses.as_deref()?.0)
    }

    /// Returns the address of the proxy to which the client has connected; `None` as for
    /// [`source`](Self::source).
    #[must_use]
    pub fn destination(&self) -> Option<&Address> {
        Some(&self.addresses.as_deref()?.1)
    }

    /// Returns the name of the server that the client has asked for, as in TLS (`SNI`).
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        from_utf8(self.value(0x02)?).ok()
    }

    /// Returns the protocol above TCP or TLS (`ALPN`), such as `h2`.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.value(0x01)
    }

    /// Returns the proxy's own name for the connection, at most 128 bytes.
    #[must_use]
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.value(0x05)
    }

    /// Returns the encryption between the client and the proxy; `None` if the proxy does not state
    /// it.
    #[must_use]
    pub fn ssl(&self) -> Option<ProxySsl<'_>> {
        match Tlv::decode(0x20, self.value(0x20)?) {
            Ok(Tlv::Ssl(info)) => Some(ProxySsl(info)),
            _ => None,
        }
    }

    /// Returns the first value with this number, as its bytes. The number is a type of the
    /// specification (`TLV`), or a type that proxies have agreed on, such as 0xEA of AWS.
    #[must_use]
    pub fn value(&self, number: u8) -> Option<&[u8]> {
        let mut values = values(&self.values).flatten();
        let (_, value, _) = values.find(|(of, ..)| *of == number)?;
        Some(value)
    }
}

impl fmt::Debug for ProxyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = values(&self.values).flatten().map(|(number, ..)| number);
        f.debug_struct("ProxyHeader")
            .field("version", &self.version)
            .field("is_local", &self.is_local)
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("values", &Vec::from_iter(numbers))
            .finish()
    }
}

/// The encryption between a client and the proxy, as the proxy states it.
///
/// Python has no counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySsl<'a>(SslInfo<'a>);

impl ProxySsl<'_> {
    /// Returns whether the client's connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.0.client_ssl()
    }

    /// Returns the version of the encryption, such as `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.0.version()
    }

    /// Returns the cipher suite, such as `TLS_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher(&self) -> Option<&str> {
        self.0.cipher()
    }

    /// Returns the common name in the client's certificate, whether or not the proxy has verified
    /// the certificate: see [`is_verified`](Self::is_verified).
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.0.cn()
    }

    /// Returns whether the client has shown a certificate, in this connection or in the session
    /// that it has resumed, and the proxy has verified it.
    ///
    /// The proxy states success for a client without a certificate too, so its result alone proves
    /// nothing.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let has_certificate = self.0.client_cert_conn() || self.0.client_cert_sess();
        self.is_encrypted() && has_certificate && self.0.verify() == 0
    }
}

/// Returns the number, the bytes and the offset of each value in `bytes`. If the last value is
/// incomplete, `None` is the last item.
pub(super) fn values(bytes: &[u8]) -> impl Iterator<Item = Option<(u8, &[u8], usize)>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let value = match *rest {
            [number, high, low, ref rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                let value = rest.get(..length);
                value.map(|value| (number, value, at + 3))
            }
            _ => None,
        };
        at = value.map_or(bytes.len(), |(_, value, offset)| offset + value.len());
        Some(value)
    })
}
