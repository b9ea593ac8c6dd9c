//! The errors of a configuration, and of a handshake.

use std::error::Error as StdError;
use std::path::PathBuf;

use crate::values::cause;

/// The reason why a [configuration](crate::TlsConfig) could not be loaded. The message names the
/// file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read, or is not a PEM file of the expected kind.
    #[error("cannot read {what} from {path:?}: {source}; a PEM file is expected")]
    #[non_exhaustive]
    Read {
        /// The contents that the file should have.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A file has no item of the expected kind.
    #[error("{path:?} contains no {what}; a PEM file is expected")]
    #[non_exhaustive]
    Empty {
        /// The contents that the file should have.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A certificate and a private key do not belong together, or the key is of an unknown kind.
    #[error("cannot use the certificate {certificate:?} with the key {key:?}: {source}")]
    #[non_exhaustive]
    Identity {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The authorities of client certificates, or their revocation lists, cannot be used.
    #[error("cannot verify clients with {path:?}: {source}")]
    #[non_exhaustive]
    Authorities {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The program has asked for revocation lists or optional certificates without authorities.
    #[error("revocation lists need the authorities of the client certificates: call client_ca")]
    NoAuthorities,
    /// The library of cryptography failed.
    #[error("cannot make the TLS configuration: {0}")]
    Library(#[source] Box<dyn StdError + Send + Sync>),
}

/// The reason why a handshake failed: the client does not speak TLS, or the two sides do not agree.
#[derive(Debug, thiserror::Error)]
#[error("the TLS handshake failed: {reason}")]
pub struct HandshakeError {
    #[source]
    reason: rustls::Error,
}

impl HandshakeError {
    pub(super) fn new(reason: rustls::Error) -> Self {
        Self { reason }
    }

    /// Returns the handshake error in `error`, or in one of its causes; `None` if the error has
    /// another reason.
    #[must_use]
    pub fn find_in<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        cause::find(error)
    }
}
