//! The parameters that client and server have agreed on.

use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::requests::stream_request::StreamRequest;
use crate::values::request_event::TlsVersion;

/// The parameters that client and server have agreed on in their handshake.
///
/// Python's counterparts are `version`, `cipher`, `selected_alpn_protocol` and `getpeercert` of
/// `ssl.SSLSocket`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(alias = "SSLSocket")]
pub struct TlsSession {
    version: &'static str,
    cipher: &'static str,
    server_name: Option<String>,
    alpn: Option<Vec<u8>>,
    peer_certificates: Vec<Vec<u8>>,
    is_resumed: bool,
}

impl TlsSession {
    pub(super) fn of(connection: &ServerConnection) -> Self {
        let certificates = connection.peer_certificates().unwrap_or_default();
        Self {
            version: version_of(connection).map_or("unknown", TlsVersion::name),
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("unknown"),
            server_name: connection.server_name().map(str::to_owned),
            alpn: connection.alpn_protocol().map(<[u8]>::to_owned),
            peer_certificates: certificates.iter().map(|it| it.to_vec()).collect(),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Returns the version, as OpenSSL and Python write it: `TLSv1.2` or `TLSv1.3`.
    #[must_use]
    pub fn version(&self) -> &str {
        self.version
    }

    /// Returns the cipher suite, by its standard name, such as `TLS13_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn cipher(&self) -> &str {
        self.cipher
    }

    /// Returns the name that the client has asked for (SNI); `None` if it has not asked for a name.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Returns the protocol above TLS (ALPN); `None` if the client has offered none.
    #[must_use]
    #[doc(alias = "selected_alpn_protocol")]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.alpn.as_deref()
    }

    /// Returns the verified certificates of the client, in DER, its own first. The list is empty if
    /// the client has shown no certificate.
    #[must_use]
    #[doc(alias = "getpeercert")]
    pub fn peer_certificates(&self) -> &[Vec<u8>] {
        &self.peer_certificates
    }

    /// Returns the identity of the client: the subject of its verified certificate, as RFC 4514
    /// writes it, such as `CN=Grace,O=Navy`. `None` if the client has shown no certificate.
    #[must_use]
    pub fn peer_subject(&self) -> Option<String> {
        let certificate = Certificate::from_der(self.peer_certificates.first()?).ok()?;
        Some(certificate.tbs_certificate().subject().to_string())
    }

    /// Returns whether the client has resumed an earlier session.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }
}

/// Returns the version that the two sides have agreed on; `None` before they have.
pub(super) fn version_of(connection: &ServerConnection) -> Option<TlsVersion> {
    match connection.protocol_version()? {
        ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
        ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
        _ => None,
    }
}

impl StreamRequest {
    /// Returns the parameters that client and server have agreed on; `None` if the connection is
    /// not encrypted.
    #[must_use]
    pub fn tls_session(&self) -> Option<&TlsSession> {
        self.extensions().get()
    }
}
