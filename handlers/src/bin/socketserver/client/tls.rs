//! The client's side of an encrypted connection.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::failure::Failure;
use crate::url::{HostPort, StreamUrl, Url};

/// The options of a client with TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of TLS")]
pub struct TlsArguments {
    /// Encrypt the connection with TLS, as with a tls:// URL
    ///
    /// Needs --ca or --insecure. The server has to show a certificate for the host of the URL, or
    /// for --server-name, that an authority in the file of --ca has signed.
    #[arg(long)]
    tls: bool,

    /// PEM file of the authorities that may have signed the certificate of the server
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,

    /// PEM file of the certificate of this client with its chain, for a server that asks for it
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// PEM file of the private key of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// Accept any certificate of the server, so that anybody between can read and change the bytes
    #[arg(long)]
    insecure: bool,

    /// Name that the certificate of the server has to have [default: the host of the URL]
    ///
    /// Over a Unix socket the default is "localhost".
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

/// The client's side of encrypted connections to one server. The connections resume each other's
/// sessions.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsArguments {
    /// The first given option that is for encryption alone.
    pub fn given(&self) -> Option<&'static str> {
        self.tls.then_some("--tls").or_else(|| self.detail())
    }

    /// The first given option about the details of the encryption.
    fn detail(&self) -> Option<&'static str> {
        let details = [
            ("--ca", self.ca.is_some()),
            ("--cert", self.cert.is_some()),
            ("--insecure", self.insecure),
            ("--server-name", self.server_name.is_some()),
        ];
        let given = details.into_iter().find(|(_, is_given)| *is_given);
        given.map(|(option, _)| option)
    }

    /// Loads the files for a connection to `url`; `None` if the user asks for no encryption.
    ///
    /// # Errors
    ///
    /// If `url` has no connections, the user has not named the trusted authorities, or a file is
    /// broken.
    pub fn load(&self, url: &Url) -> Result<Option<ClientTls>, Failure> {
        if !self.tls && !matches!(url, Url::Stream(StreamUrl::Tls(_))) {
            return match self.detail() {
                None => Ok(None),
                Some(option) => Err(Failure::usage(format!(
                    "{option} is for an encrypted connection; give --tls too, or a tls:// URL"
                ))),
            };
        }
        let Url::Stream(url) = url else {
            return Err(Failure::no_connections("--tls", url));
        };
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::Tls(error.to_string()))?;
        let config = match (&self.ca, self.insecure) {
            (Some(file), _) => config.with_root_certificates(authorities(file)?),
            (None, true) => config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer(provider))),
            (None, false) => {
                return Err(Failure::usage(
                    "TLS needs the authorities of the server's certificate: give --ca, or \
                     --insecure if anybody may be the server",
                ));
            }
        };
        let config = match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| cannot_read("a private key", key, &error))?;
                let config = config.with_client_auth_cert(chain, key);
                config.map_err(|error| cannot_read("a certificate", certificate, &error))?
            }
            _ => config.with_no_client_auth(),
        };
        let name = match (&self.server_name, url) {
            (Some(name), _) => name.clone(),
            (None, StreamUrl::Tcp(place) | StreamUrl::Tls(place)) => host_of(place),
            (None, StreamUrl::Unix(_)) => "localhost".to_owned(),
        };
        let name = ServerName::try_from(name)
            .map_err(|error| Failure::usage(format!("the name of the server: {error}")))?;
        let config = Arc::new(config);
        Ok(Some(ClientTls { config, name }))
    }
}

impl ClientTls {
    /// The client's side of a connection whose handshake has not begun.
    pub fn begin(&self) -> io::Result<ClientConnection> {
        let connection = ClientConnection::new(self.config.clone(), self.name.clone());
        connection.map_err(io::Error::other)
    }
}

/// The host as the certificate of a server has it: without port, brackets and zone.
fn host_of(place: &HostPort) -> String {
    let text = place.to_string();
    let host = text.rsplit_once(':').map_or(&*text, |(host, _)| host);
    let host = host.trim_matches(['[', ']']);
    host.split('%').next().unwrap_or(host).to_owned()
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    const WHAT: &str = "a certificate";
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = read.map_err(|error| cannot_read(WHAT, file, &error))?;
    if certificates.is_empty() {
        return Err(cannot_read(WHAT, file, &"the file contains none"));
    }
    Ok(certificates)
}

fn authorities(file: &Path) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = roots.add(certificate);
        added.map_err(|error| cannot_read("an authority", file, &error))?;
    }
    Ok(roots)
}

fn cannot_read(what: &str, file: &Path, reason: &dyn fmt::Display) -> Failure {
    Failure::Tls(format!(
        "cannot read {what} from {file:?}: {reason}; a PEM file is expected"
    ))
}

/// Accepts any certificate, if the server has its private key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_server_is_the_host_of_the_url() {
        for (place, expected) in [
            ("www.example.org:9999", "www.example.org"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:443", "::1"),
            ("[fe80::1%1]:443", "fe80::1"),
        ] {
            assert_eq!(host_of(&place.parse().unwrap()), expected);
        }
    }
}
