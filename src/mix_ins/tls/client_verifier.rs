//! The verification of client certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::mix_ins::tls::certificates::read_certificates;
use crate::mix_ins::tls::error::TlsError;

/// The authorities whose certificates clients may show.
#[derive(Debug, Clone)]
pub(super) struct ClientAuthorities {
    pub file: PathBuf,
    pub revocation_lists: Vec<PathBuf>,
    /// Whether a client may do without a certificate.
    pub optional: bool,
}

impl ClientAuthorities {
    pub fn load(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let cannot_use = |source| TlsError::Authorities {
            path: self.file.clone(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in read_certificates(&self.file, "certificate of an authority")? {
            roots
                .add(certificate)
                .map_err(|error| cannot_use(error.into()))?;
        }
        let mut lists = Vec::new();
        for path in &self.revocation_lists {
            lists.extend(read_revocation_lists(path)?);
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        // The certificate of an intermediate authority need not have a list of its own.
        let mut builder = builder.with_crls(lists).only_check_end_entity_revocation();
        if self.optional {
            builder = builder.allow_unauthenticated();
        }
        builder.build().map_err(|error| cannot_use(error.into()))
    }
}

fn read_revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    const WHAT: &str = "certificate revocation list";
    let read = CertificateRevocationListDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Err(error) => Err(TlsError::Read {
            what: WHAT,
            path: path.to_owned(),
            source: error.into(),
        }),
        Ok(lists) if lists.is_empty() => Err(TlsError::Empty {
            what: WHAT,
            path: path.to_owned(),
        }),
        Ok(lists) => Ok(lists),
    }
}
