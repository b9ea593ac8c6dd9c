//! The certificates of a server. A client's SNI chooses one of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::mix_ins::tls::error::TlsError;
use crate::mix_ins::tls::expiry::expiry_of;

/// The files of a certificate with its chain, and of its private key.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Identity {
    fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
        let chain = read_certificates(&self.certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| TlsError::Read {
            what: "a private key",
            path: self.key.clone(),
            source: error.into(),
        })?;
        let certified = CertifiedKey::from_der(chain, key, provider);
        certified.map(Arc::new).map_err(|error| TlsError::Identity {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source: error.into(),
        })
    }
}

/// Every certificate in a PEM file, of which there is one at least.
pub(super) fn read_certificates(
    path: &Path,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Err(error) => Err(TlsError::Read {
            what,
            path: path.to_owned(),
            source: error.into(),
        }),
        Ok(certificates) if certificates.is_empty() => Err(TlsError::Empty {
            what,
            path: path.to_owned(),
        }),
        Ok(certificates) => Ok(certificates),
    }
}

/// The certificates of a server. The first is the default.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    pub fn load(identities: &[Identity], provider: &CryptoProvider) -> Result<Self, TlsError> {
        let loaded = identities.iter().map(|identity| identity.load(provider));
        loaded.collect::<Result<_, _>>().map(Self)
    }

    /// The name and the end of each certificate that can be read.
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        let own = self.0.iter().filter_map(|it| it.cert.first());
        own.filter_map(expiry_of).collect()
    }

    /// Returns the certificate for this name: the first certificate that is valid for it, wildcards
    /// included, or the default.
    fn for_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.0.iter().find(|it| is_valid_for(it, &name)));
        named.or(self.0.first()).cloned()
    }
}

fn is_valid_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certified
        .cert
        .first()
        .and_then(|certificate| ParsedCertificate::try_from(certificate).ok());
    parsed.is_some_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_name(hello.server_name())
    }
}
