//! The options of an authenticated link, which a server puts before a handler and a client before a
//! conversation.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use socketserver::StreamRequest;
use socketserver_handlers::auth::{Authenticated, Digest, Key};

use crate::factory::Factory;
use crate::failure::Failure;
use crate::url::Url;

/// The key and the digest that both sides use, if there is a link.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of authentication")]
pub struct AuthOptions {
    /// File of the secret key that a client has to know; server and client need the same key
    ///
    /// The server sends 32 random bytes, and the client answers with their HMAC under the key. The
    /// server closes the connection if the answer is wrong. This option encrypts nothing. A line
    /// end at the end of the file is not part of the key. For connections only.
    #[arg(long, value_name = "FILE")]
    auth_key_file: Option<PathBuf>,

    /// Hash function of the HMAC; server and client need the same
    ///
    /// The tutorial's is md5.
    #[arg(
        long,
        value_name = "DIGEST",
        value_parser = digest(),
        default_value = "sha256",
        requires = "auth_key_file"
    )]
    auth_digest: Digest,
}

/// Accepts the name of a digest. For any other name, clap's error lists the digests.
fn digest() -> impl TypedValueParser<Value = Digest> {
    PossibleValuesParser::new(Digest::ALL.map(Digest::name)).try_map(|name| name.parse::<Digest>())
}

/// An authenticated link: the key and the digest of both sides.
#[derive(Debug, Clone)]
pub struct Link {
    pub key: Key,
    pub digest: Digest,
}

impl AuthOptions {
    /// Whether the user gives a key.
    pub fn has_key(&self) -> bool {
        self.auth_key_file.is_some()
    }

    /// Reads the key for a link over `url`; `None` if the user asks for no link.
    ///
    /// # Errors
    ///
    /// If `url` has no connections, or the file has no key.
    pub fn link(&self, url: &Url) -> Result<Option<Link>, Failure> {
        self.link_over(std::slice::from_ref(url))
    }

    /// Reads the key for a link over each of `urls`, once.
    ///
    /// # Errors
    ///
    /// If one of `urls` has no connections, or the file has no key.
    pub fn link_over(&self, urls: &[Url]) -> Result<Option<Link>, Failure> {
        let Some(file) = &self.auth_key_file else {
            return Ok(None);
        };
        if let Some(url) = urls.iter().find(|url| !url.has_connections()) {
            return Err(Failure::no_connections("--auth-key-file", url));
        }
        Ok(Some(Link {
            key: Key::from_file(file)?,
            digest: self.auth_digest,
        }))
    }
}

impl Link {
    /// Puts the link before the handlers of a server.
    pub fn guard(self, factory: Factory<StreamRequest>) -> Factory<StreamRequest> {
        Box::new(move || {
            let (key, digest) = (self.key.clone(), self.digest);
            Box::new(Authenticated::new(key, digest, factory()))
        })
    }
}
