//! The options of an authenticated link, which a server puts before a handler and a client before a
//! conversation.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use socketserver::StreamRequest;
use socketserver_handlers::auth::{Authenticated, Digest, Key, KeyError};

use crate::boxed_handler::BoxedHandler;
use crate::service::Factory;
use crate::url::Url;

/// The key and the digest that both sides use, if there is a link.
#[derive(Debug, Args)]
pub struct AuthOptions {
    /// Connect only with who knows the key in this file
    ///
    /// The server sends 32 random bytes, and the client answers with their HMAC under the key. A line
    /// end at the end of the file is not part of the key. For connections only.
    #[arg(long, value_name = "FILE")]
    auth_key_file: Option<PathBuf>,

    /// The digest of the HMAC; the tutorial's is md5
    #[arg(long, value_name = "DIGEST", value_parser = digest(), default_value = "sha256", requires = "auth_key_file")]
    auth_digest: Digest,
}

/// Accepts the name of a digest; clap's refusal of any other lists them.
fn digest() -> impl TypedValueParser<Value = Digest> {
    PossibleValuesParser::new(Digest::ALL.map(Digest::name)).try_map(|name| name.parse::<Digest>())
}

impl AuthOptions {
    /// Whether there can be a link over `url`.
    ///
    /// # Errors
    ///
    /// If one is asked for and there is no connection.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        match url {
            Url::Udp(_) | Url::Unixgram(_) if self.auth_key_file.is_some() => Err(format!(
                "--auth-key-file is for connections, and {} has none",
                url.scheme()
            )),
            _ => Ok(()),
        }
    }

    /// The key and the digest; `None` if no link is asked for.
    ///
    /// # Errors
    ///
    /// If the file has no key.
    pub fn link(&self) -> Result<Option<(Key, Digest)>, KeyError> {
        let key = self.auth_key_file.as_ref().map(Key::from_file);
        Ok(key.transpose()?.map(|key| (key, self.auth_digest)))
    }

    /// Puts the link before the handlers of a server, if it is asked for.
    ///
    /// # Errors
    ///
    /// If the file has no key.
    pub fn guard(
        &self,
        factory: Factory<StreamRequest>,
    ) -> Result<Factory<StreamRequest>, KeyError> {
        let Some((key, digest)) = self.link()? else {
            return Ok(factory);
        };
        Ok(Box::new(move || {
            BoxedHandler::new(Authenticated::new(key.clone(), digest, factory()))
        }))
    }
}
