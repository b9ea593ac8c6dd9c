//! The options of a server with TLS, and the configuration that is made of them.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use rustls::ServerConfig;

use crate::mix_ins::tls::certificates::{Certificates, Identity};
use crate::mix_ins::tls::client_verifier::ClientAuthorities;
use crate::mix_ins::tls::error::TlsError;
use crate::mix_ins::tls::provider::{provider, ticketer};
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::values::request_event::HandshakeResult;

/// How often the server checks the age of the keys of the tickets. rustls replaces them every six
/// hours.
const BETWEEN_ROLLS: Duration = Duration::from_secs(60);

/// The files and the choices of which [`load`](Self::load) makes a [`TlsConfig`].
///
/// Python's counterpart is `ssl.SSLContext` with `load_cert_chain`, `load_verify_locations`,
/// `verify_mode` and `set_alpn_protocols`.
///
/// ```no_run
/// use socketserver::TlsOptions;
///
/// let config = TlsOptions::new("example.org.pem", "example.org.key")
///     .identity("example.net.pem", "example.net.key")
///     .client_ca("employees.pem")
///     .client_crl("left.pem")
///     .alpn(["http/1.1"])
///     .load()?;
/// # Ok::<(), socketserver::TlsError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "the options do nothing until `load` makes a configuration of them"]
#[doc(alias = "load_cert_chain")]
pub struct TlsOptions {
    identities: Vec<Identity>,
    client_ca: Option<PathBuf>,
    revocation_lists: Vec<PathBuf>,
    optional: bool,
    alpn: Vec<Vec<u8>>,
    tickets: bool,
}

impl TlsOptions {
    /// Uses the certificate, with its chain after it, and its private key from two PEM files, which
    /// [`load`](Self::load) reads. Both may be in the same file.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        let identity = Identity {
            certificate: certificate.into(),
            key: key.into(),
        };
        Self {
            identities: vec![identity],
            client_ca: None,
            revocation_lists: Vec::new(),
            optional: false,
            alpn: Vec::new(),
            tickets: true,
        }
    }

    /// Adds a certificate for other names. A client receives the first certificate that is valid
    /// for the name that it asks for (SNI), wildcards included, and otherwise that of
    /// [`new`](Self::new).
    pub fn identity(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identities.push(Identity {
            certificate: certificate.into(),
            key: key.into(),
        });
        self
    }

    /// Requires a certificate of each client, which an authority in this PEM file has signed.
    /// Python's `verify_mode = ssl.CERT_REQUIRED`.
    #[doc(alias = "load_verify_locations")]
    pub fn client_ca(mut self, authorities: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(authorities.into());
        self
    }

    /// Accepts clients without a certificate too. The handler reads
    /// [`TlsSession::peer_certificates`](crate::TlsSession::peer_certificates). If a client shows a
    /// certificate, it has to be valid. Python's `ssl.CERT_OPTIONAL`.
    pub fn client_certificates_are_optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Adds a PEM file of revoked client certificates. Once there is a list, a client certificate
    /// without a list of its authority is refused.
    pub fn client_crl(mut self, list: impl Into<PathBuf>) -> Self {
        self.revocation_lists.push(list.into());
        self
    }

    /// Sets the protocols above TLS, the preferred protocol first (ALPN). A client that offers only
    /// other protocols is refused. A client that offers none is served. Python's
    /// `set_alpn_protocols`.
    #[doc(alias = "set_alpn_protocols")]
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Sets whether clients receive tickets with which they resume their sessions; true unless set.
    pub fn session_tickets(mut self, tickets: bool) -> Self {
        self.tickets = tickets;
        self
    }

    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A [`TlsError`], which names the file.
    pub fn load(self) -> Result<TlsConfig, TlsError> {
        let current = self.make()?;
        Ok(TlsConfig(Arc::new(Shared {
            options: self,
            current: RwLock::new(current),
            rolled: Mutex::new(Instant::now()),
            counters: Counters::default(),
        })))
    }

    fn make(&self) -> Result<Current, TlsError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Library(error.into()))?;
        let builder = match &self.client_ca {
            Some(file) => {
                let authorities = ClientAuthorities {
                    file: file.clone(),
                    revocation_lists: self.revocation_lists.clone(),
                    optional: self.optional,
                };
                builder.with_client_cert_verifier(authorities.load(provider.clone())?)
            }
            None if self.optional || !self.revocation_lists.is_empty() => {
                return Err(TlsError::NoAuthorities);
            }
            None => builder.with_no_client_auth(),
        };
        let certificates = Certificates::load(&self.identities, &provider)?;
        let expiries = certificates.expiries();
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = self.alpn.clone();
        if self.tickets {
            config.ticketer = ticketer().map_err(|error| TlsError::Library(error.into()))?;
            prepare_tickets(&config);
        } else {
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        }
        let config = Arc::new(config);
        Ok(Current { config, expiries })
    }
}

/// The configuration of a server with TLS. All clones share the same configuration.
#[derive(Clone)]
#[doc(alias = "SSLContext")]
pub struct TlsConfig(Arc<Shared>);

struct Shared {
    options: TlsOptions,
    current: RwLock<Current>,
    /// When the age of the keys of the tickets was last checked.
    rolled: Mutex<Instant>,
    counters: Counters,
}

/// The result of the last reading of the files.
struct Current {
    config: Arc<ServerConfig>,
    /// The name and the end of each certificate.
    expiries: Vec<(String, SystemTime)>,
}

impl TlsConfig {
    /// Reads all files again. The contents are in force for the clients that connect from now on,
    /// and earlier sessions are not resumed.
    ///
    /// # Errors
    ///
    /// A [`TlsError`], which names the file. After an error the former configuration stays in
    /// force.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = self.0.options.make()?;
        let current = self.0.current.write();
        let mut current = current.unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, new);
        drop(current);
        // The lock is released first, because the loop waits for it.
        drop(before);
        Ok(())
    }

    /// Returns when each certificate of the server ends, with the first host name in the
    /// certificate, or its subject. The authorities in its chain are left out. Python's `notAfter`
    /// of `ssl.SSLSocket.getpeercert`, which only the client can read.
    #[must_use]
    pub fn expiries(&self) -> Vec<(String, SystemTime)> {
        let current = self.0.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        current.expiries.clone()
    }

    /// Returns the number of handshakes, by their results.
    #[must_use]
    pub fn statistics(&self) -> TlsStatistics {
        let Counters {
            full,
            resumed,
            failed,
            abandoned,
        } = &self.0.counters;
        TlsStatistics {
            full: full.load(Relaxed),
            resumed: resumed.load(Relaxed),
            failed: failed.load(Relaxed),
            abandoned: abandoned.load(Relaxed),
        }
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        let current = self.0.current.read();
        let current = current.unwrap_or_else(PoisonError::into_inner);
        current.config.clone()
    }

    pub(super) fn count(&self, result: HandshakeResult) {
        let counters = &self.0.counters;
        let counter = match result {
            HandshakeResult::Full => &counters.full,
            HandshakeResult::Resumed => &counters.resumed,
            HandshakeResult::Failed => &counters.failed,
            HandshakeResult::Abandoned => &counters.abandoned,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Lets rustls replace the keys of the tickets, if it is time. rustls does so when a ticket is
    /// made. Under `ForkingMixIn` only children make tickets, and each child would have keys of its
    /// own.
    pub(super) fn roll_ticket_keys(&self) {
        let mut rolled = lock(&self.0.rolled);
        if rolled.elapsed() >= BETWEEN_ROLLS {
            *rolled = Instant::now();
            drop(rolled);
            prepare_tickets(&self.current());
        }
    }
}

/// Makes a ticket as large as that of a client with a long chain of certificates. The keys refuse
/// tickets that are longer than the longest that they have made. A forked child would know nothing
/// of longer tickets of others.
fn prepare_tickets(config: &ServerConfig) {
    const LONGEST: usize = 16 << 10;
    let _ = config.ticketer.encrypt(&[0; LONGEST]);
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsConfig").field(&self.0.options).finish()
    }
}

#[derive(Default)]
struct Counters {
    full: AtomicU64,
    resumed: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
}

/// The handshakes of a [configuration](TlsConfig). Handshakes in forked children are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsStatistics {
    /// Complete handshakes.
    pub full: u64,
    /// Handshakes that resumed an earlier session.
    pub resumed: u64,
    /// Handshakes on which the two sides did not agree. Clients that do not speak TLS are among
    /// them.
    pub failed: u64,
    /// Handshakes that the client did not complete, because the client left or was silent for too
    /// long, or because the server stopped.
    pub abandoned: u64,
}
