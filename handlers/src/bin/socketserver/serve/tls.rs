//! The encryption of a server's connections.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use socketserver::{TlsConfig, TlsOptions};

use crate::failure::Failure;
use crate::url::{StreamUrl, Url};
use crate::watched::Watched;

/// The options of a server with TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of TLS")]
pub struct TlsArguments {
    /// PEM file of the server's certificate with its chain; encrypts connections with TLS
    ///
    /// Needs --tls-key. If --listen has tls:// URLs, the connections at those are encrypted.
    /// Otherwise the connections at every address are, and no address may be for datagrams.
    ///
    /// May be given several times, each with its --tls-key. A client that asks for a name receives
    /// the first certificate that is valid for the name. If there is none, the client receives the
    /// first certificate of all.
    ///
    /// SIGHUP loads all files of TLS again, and does not stop the server. If a file is broken then,
    /// the files from before stay in use.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,

    /// PEM file of the private key of a --tls-cert
    ///
    /// If both options are given several times, the keys have the order of the certificates.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

    /// PEM file of authorities: serve only clients with a certificate that one of them has signed
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,

    /// Serve clients without a certificate too, although --tls-client-ca is given
    #[arg(long, requires = "tls_client_ca")]
    tls_client_optional: bool,

    /// PEM file of a revocation list, whose client certificates are refused
    ///
    /// May be given several times.
    #[arg(long, value_name = "FILE", requires = "tls_client_ca")]
    tls_client_crl: Vec<PathBuf>,
}

impl TlsArguments {
    /// Whether connections are encrypted.
    pub fn is_given(&self) -> bool {
        !self.tls_cert.is_empty()
    }

    /// Loads the files for servers on `urls`; `None` if the user asks for no encryption.
    ///
    /// # Errors
    ///
    /// If it is not clear which of `urls` are to be encrypted, the numbers of certificates and keys
    /// differ, or a file is broken.
    pub fn load(&self, urls: &[Url]) -> Result<Option<Encryption>, Failure> {
        let is_chosen = urls.iter().any(is_tls);
        let mut pairs = self.tls_cert.iter().zip(&self.tls_key);
        let Some((certificate, key)) = pairs.next() else {
            return match is_chosen {
                true => Err(Failure::usage(
                    "tls:// needs a certificate and its key; give --tls-cert and --tls-key",
                )),
                false => Ok(None),
            };
        };
        match urls.iter().find(|url| !url.has_connections()) {
            Some(url) if !is_chosen && urls.len() == 1 => {
                return Err(Failure::no_connections("--tls-cert", url));
            }
            Some(url) if !is_chosen => {
                return Err(Failure::usage(format!(
                    "--tls-cert does not encrypt {url}; write tls:// for the URLs that are to be \
                     encrypted"
                )));
            }
            _ => {}
        }
        if self.tls_cert.len() != self.tls_key.len() {
            return Err(Failure::usage(
                "each --tls-cert needs its own --tls-key; give both equally often",
            ));
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
        let config = config.map_err(|error| Failure::Tls(error.to_string()))?;
        Ok(Some(Encryption { config, is_chosen }))
    }
}

/// The encryption of some servers.
#[derive(Debug)]
pub struct Encryption {
    config: TlsConfig,
    /// Whether the user has chosen the encrypted servers by `tls://`. Otherwise all are.
    is_chosen: bool,
}

impl Encryption {
    /// The encryption of the connections at `url`, if they are encrypted.
    pub fn at(&self, url: &Url) -> Option<&TlsConfig> {
        (is_tls(url) || !self.is_chosen).then_some(&self.config)
    }

    /// The files, which SIGHUP loads again.
    pub fn watched(&self) -> Watched {
        let config = self.config.clone();
        Watched {
            loaded: "the files of TLS were loaded again",
            kept: "the files of TLS from before stay in use",
            load: Arc::new(move || config.reload().map_err(|error| error.to_string())),
        }
    }
}

fn is_tls(url: &Url) -> bool {
    matches!(url, Url::Stream(StreamUrl::Tls(_)))
}
