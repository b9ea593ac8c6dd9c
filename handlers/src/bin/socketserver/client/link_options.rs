//! The options of a connection that both sides have to agree on.

use clap::Args;

#[cfg(feature = "tls")]
use super::tls::TlsArguments;
use crate::auth_options::AuthOptions;

/// What both sides of a connection agree on before the conversation.
#[derive(Debug, Args)]
pub struct LinkOptions {
    #[command(flatten)]
    pub auth: AuthOptions,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub tls: TlsArguments,
}
