//! Clients of the servers with TLS, over rustls.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use socket2::Socket;
use socketserver::Address;

use crate::certificates::{Authority, Identity};
use crate::clients::StreamClient;

pub use rustls::version::{TLS12, TLS13};

/// Both versions, with the names that OpenSSL gives them.
pub const VERSIONS: [(&SupportedProtocolVersion, &str); 2] =
    [(&TLS12, "TLSv1.2"), (&TLS13, "TLSv1.3")];

/// Connects clients that resume each other's sessions.
#[derive(Debug, Clone)]
pub struct TlsClients {
    config: Arc<ClientConfig>,
    name: String,
}

impl TlsClients {
    /// Makes clients that trust `authority`, and ask for `localhost`.
    pub fn new(authority: &Authority) -> Self {
        Self::with(authority, &[&TLS12, &TLS13], None)
    }

    /// Makes clients of these versions alone, with a certificate if there is one.
    pub fn with(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        identity: Option<&Identity>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        let file = authority.file();
        for certificate in certificates(&file) {
            roots.add(certificate).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
                let chain = certificates(&identity.certificate);
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self {
            config: Arc::new(config),
            name: "localhost".to_owned(),
        }
    }

    /// Returns the same clients, which ask for another name.
    pub fn named(&self, name: &str) -> Self {
        let name = name.to_owned();
        let config = self.config.clone();
        Self { config, name }
    }

    /// Returns the same clients, each of which makes a full handshake.
    pub fn without_resumption(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        let config = Arc::new(config);
        let name = self.name.clone();
        Self { config, name }
    }

    /// Returns the same clients, which offer these protocols.
    pub fn offering(&self, protocols: &[&str]) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
        // An earlier session would have other protocols.
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let name = self.name.clone();
        Self { config, name }
    }

    /// Connects, and makes the handshake; panics if that fails.
    pub fn connect(&self, address: &Address) -> TlsClient {
        self.try_connect(address)
            .unwrap_or_else(|error| panic!("TLS with {address}: {error}"))
    }

    /// Connects, and makes the handshake.
    pub fn try_connect(&self, address: &Address) -> io::Result<TlsClient> {
        self.try_over(StreamClient::try_connect(address)?)
    }

    /// Makes the handshake over a connection.
    pub fn over(&self, connection: StreamClient) -> TlsClient {
        self.try_over(connection)
            .unwrap_or_else(|error| panic!("TLS: {error}"))
    }

    fn try_over(&self, connection: StreamClient) -> io::Result<TlsClient> {
        let mut socket = connection.socket().try_clone()?;
        let mut tls = self.begin();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(TlsClient {
            reader: BufReader::new(StreamOwned::new(tls, socket)),
            connection,
        })
    }

    /// Makes the client's side of a handshake that has not begun.
    pub fn begin(&self) -> ClientConnection {
        let name = ServerName::try_from(self.name.clone()).unwrap();
        ClientConnection::new(self.config.clone(), name).unwrap()
    }
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(file).unwrap();
    read.collect::<Result<_, _>>().unwrap()
}

/// An encrypted connection, from the client's side.
#[derive(Debug)]
pub struct TlsClient {
    reader: BufReader<StreamOwned<ClientConnection, Socket>>,
    connection: StreamClient,
}

impl TlsClient {
    /// Returns the client's side of the encryption.
    pub fn tls(&self) -> &ClientConnection {
        &self.reader.get_ref().conn
    }

    /// Returns the socket under the encryption.
    pub fn socket(&self) -> &Socket {
        self.connection.socket()
    }

    /// Returns whether an earlier session was resumed.
    pub fn is_resumed(&self) -> bool {
        self.tls().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Returns the certificate of the server, in DER.
    pub fn server_certificate(&self) -> Vec<u8> {
        self.tls().peer_certificates().unwrap()[0].to_vec()
    }

    /// Sends all of `text`.
    pub fn send(&mut self, text: &str) {
        self.try_send(text.as_bytes()).unwrap();
    }

    /// Sends all of these bytes, or returns the error.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.reader.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Returns the next line without its end; empty if the server has ended its side.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// Sends a line, and returns the next line.
    pub fn exchange(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.line()
    }

    /// Waits for the next `count` bytes, and returns them.
    pub fn receive_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Returns everything until the server's close_notify. Fails if the connection ends without
    /// one.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Sends the server the notice of the end.
    pub fn finish_sending(&mut self) {
        let stream = self.reader.get_mut();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
    }

    /// Ends the writing side of the connection without a notice.
    pub fn end_without_notice(&self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }
}
