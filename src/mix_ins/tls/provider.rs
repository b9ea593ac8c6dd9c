//! The library of cryptography.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;

#[cfg(feature = "tls-aws-lc")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(not(feature = "tls-aws-lc"))]
use rustls::crypto::ring as library;

/// Returns the provider, which every configuration names: if a program has two providers, rustls
/// has no default.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(library::default_provider())
}

/// Makes the keys of the tickets with which a client resumes its session, in this process or a
/// forked child.
///
/// # Errors
///
/// If the system has no random bytes.
pub(super) fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    library::Ticketer::new()
}
