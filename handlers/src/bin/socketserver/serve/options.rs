//! The options of `socketserver serve`.

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::access::AccessOptions;
use super::bounds::BoundOptions;
#[cfg(feature = "proxy-protocol")]
use super::proxy_protocol::ProxyOptions;
#[cfg(feature = "tls")]
use super::tls::TlsArguments;
use crate::auth_options::AuthOptions;
use crate::mix_in::MixIn;
use crate::registry::{Entry, HANDLERS};
use crate::url::Url;

/// A handler and its options.
#[derive(Debug)]
pub struct Options {
    pub handler: &'static Entry,
    pub common: CommonOptions,
    /// The options that only this handler has.
    pub own: ArgMatches,
}

/// The options of every handler.
#[derive(Debug, Args)]
pub struct CommonOptions {
    /// Where to listen: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH
    ///
    /// May be given several times: all addresses are served at once, and the server is ready when
    /// every one of them is. tls://HOST:PORT is TCP, encrypted, for which --tls-cert has the
    /// certificate. An IPv6 address is written in brackets. "localhost" means both 127.0.0.1 and
    /// [::1]. Port 0 is any free port. A path may be relative, and is taken byte for byte;
    /// unix://@NAME is a name in Linux's abstract namespace. The default is the handler's own
    /// address, which "socketserver list" shows.
    ///
    /// Each address has a loop, a mix-in and limits of its own. An option for connections, or for
    /// files, holds for those addresses that have them.
    #[arg(long, value_name = "URL")]
    listen: Vec<Url>,

    /// Listen on every address of the host name, and not only on the first that can be bound
    ///
    /// With port 0 the server listens at one free port on each. An address of a family that this
    /// machine does not have is left out. There is one line "listening on" for each address.
    /// "localhost" has every address without this option.
    #[arg(long)]
    pub all_addresses: bool,

    /// How many loops accept clients at each tcp://, tls:// and udp:// address
    ///
    /// The loops have a socket each, between which the kernel divides the clients (SO_REUSEPORT).
    /// Each has a mix-in and limits of its own. One loop unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,

    /// How requests run beside one another
    ///
    /// The default is threading, reactor for http, and none for a handler that allows nothing else.
    #[arg(long, value_enum)]
    pub mixin: Option<MixIn>,

    /// How many requests run at a time, with "--mixin pool" or "--mixin forking"
    ///
    /// The pool has so many threads: four more than there are processors, and at most 32, unless
    /// set. The forking server has at most so many children: 40 unless set.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: Option<u16>,

    #[command(flatten)]
    pub access: AccessOptions,

    #[command(flatten)]
    pub bounds: BoundOptions,

    #[cfg(feature = "proxy-protocol")]
    #[command(flatten)]
    pub proxy: ProxyOptions,

    #[command(flatten)]
    pub auth: AuthOptions,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    pub tls: TlsArguments,
}

impl Options {
    /// Where to listen: at least one URL.
    pub fn urls(&self) -> Vec<Url> {
        match &*self.common.listen {
            [] => vec![self.handler.default_address.clone()],
            listen => listen.to_vec(),
        }
    }
}

impl Args for Options {
    /// Adds a subcommand per handler. The common options are global, so that the help of `serve`
    /// and that of each handler show them.
    fn augment_args(command: Command) -> Command {
        CommonOptions::augment_args(command)
            .mut_args(|option| option.global(true))
            .subcommand_required(true)
            .subcommand_value_name("HANDLER")
            .subcommand_help_heading("Handlers")
            .disable_help_subcommand(true)
            .subcommands(HANDLERS.iter().map(Entry::command))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Options {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (name, own) = matches.subcommand().ok_or_else(missing)?;
        Ok(Self {
            handler: Entry::find(name).ok_or_else(missing)?,
            common: CommonOptions::from_arg_matches(own)?,
            own: own.clone(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
