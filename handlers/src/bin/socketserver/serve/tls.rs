//! The encryption of a server's connections.

use std::path::PathBuf;

use clap::Args;
use socketserver::{BaseServer, MixIn, StreamRequest, TlsConfig, TlsMixIn, TlsOptions};

use super::reload::Reload;
use crate::failure::Failure;
use crate::url::Url;

/// The options of a server with TLS.
#[derive(Debug, Args)]
pub struct TlsArguments {
    /// Encrypt the connections with TLS, and show this PEM file's certificate, with its chain
    ///
    /// Given several times, each with its --tls-key, a client gets the first certificate that is
    /// valid for the name that it asks for, or else the first. SIGHUP loads all files of TLS again,
    /// and does not stop the server; if a file is broken, the files from before stay in use.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,

    /// The PEM file of the private key of a --tls-cert, in the same order
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

    /// Serve only clients with a certificate that an authority in this PEM file has signed
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,

    /// Serve clients without a certificate too
    #[arg(long, requires = "tls_client_ca")]
    tls_client_optional: bool,

    /// Refuse the client certificates that this PEM file revokes; may be given several times
    #[arg(long, value_name = "FILE", requires = "tls_client_ca")]
    tls_client_crl: Vec<PathBuf>,
}

impl TlsArguments {
    /// Loads the files for a server on `url`; `None` if the user asks for no encryption.
    ///
    /// # Errors
    ///
    /// If `url` has no connections, the numbers of certificates and keys differ, or a file is
    /// broken.
    pub fn load(&self, url: &Url) -> Result<Option<TlsConfig>, Failure> {
        let mut pairs = self.tls_cert.iter().zip(&self.tls_key);
        let Some((certificate, key)) = pairs.next() else {
            return Ok(None);
        };
        if let Url::Datagram(_) = url {
            return Err(Failure::usage(format!(
                "--tls-cert is for connections, and {} has none",
                url.scheme()
            )));
        }
        if self.tls_cert.len() != self.tls_key.len() {
            return Err(Failure::usage("each --tls-cert needs a --tls-key"));
        }
        let mut options = TlsOptions::new(certificate, key);
        for (certificate, key) in pairs {
            options = options.identity(certificate, key);
        }
        if let Some(file) = &self.tls_client_ca {
            options = options.client_ca(file);
        }
        if self.tls_client_optional {
            options = options.client_certificates_are_optional();
        }
        for file in &self.tls_client_crl {
            options = options.client_crl(file);
        }
        let config = options.load();
        config
            .map(Some)
            .map_err(|error| Failure::Tls(error.to_string()))
    }
}

/// Puts the encryption around the bottom layer, whose files `reload` loads again.
pub fn encrypt<S>(bottom: S, config: TlsConfig, reload: Reload) -> Reloading<TlsMixIn<S>>
where
    S: BaseServer<Request = StreamRequest>,
{
    let next = TlsMixIn::new(bottom, config.clone());
    Reloading {
        next,
        config,
        reload,
    }
}

/// A layer that loads the files again in the loop's thread: no lock of another thread is then held
/// when the loop forks, that of the log included.
#[derive(Debug)]
pub struct Reloading<S> {
    next: S,
    config: TlsConfig,
    reload: Reload,
}

impl<S: BaseServer> MixIn for Reloading<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn service_actions(&self) {
        if self.reload.take() {
            match self.config.reload() {
                Ok(()) => log::info!("the files of TLS were loaded again"),
                Err(error) => log::error!("{error}; the files from before stay in use"),
            }
        }
        self.next.service_actions();
    }
}
