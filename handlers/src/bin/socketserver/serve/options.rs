//! The options of `socketserver serve`.

#[cfg(feature = "systemd")]
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use socketserver::Tracer;

use super::access::AccessOptions;
use super::admission::AdmissionOptions;
use super::bounds::BoundOptions;
use super::listen::{Listen, Place};
#[cfg(feature = "metrics")]
use super::metrics::MetricsOptions;
#[cfg(feature = "proxy-protocol")]
use super::proxy_protocol::ProxyOptions;
#[cfg(feature = "tls")]
use super::tls::TlsArguments;
#[cfg(feature = "systemd")]
use crate::amounts;
use crate::auth_options::AuthOptions;
use crate::failure::Failure;
use crate::mix_in::MixIn;
#[cfg(feature = "systemd")]
use crate::passed_sockets::PassedSockets;
use crate::privileges::{Identity, identity};
use crate::registry::{Entry, HANDLERS};
#[cfg(feature = "systemd")]
use crate::url::{StreamUrl, Url};

/// A handler and its options.
#[derive(Debug)]
pub struct Options {
    pub handler: &'static Entry,
    pub common: CommonOptions,
    /// The options that only this handler has.
    pub own: ArgMatches,
    /// Where the calls of hooks are shown; no option, but set by `socketserver trace`.
    pub tracer: Option<Tracer>,
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
    ///
    /// fd://NAME means the sockets of this name that a socket unit of systemd has opened for this
    /// program, fd://3 the first socket, fd://4 the second. tls+fd://NAME is a TCP socket whose
    /// connections are encrypted.
    #[arg(long, value_name = "URL")]
    listen: Vec<Listen>,

    /// Serve the client at standard input, and exit
    ///
    /// For a program that inetd starts for each client, or systemd for a unit with Accept=yes. The
    /// socket may also be the only one that systemd has passed. A socket of datagrams is served
    /// until none has come for ten seconds.
    #[arg(long, conflicts_with_all = ["listen", "all_addresses", "shards", "mixin", "workers",
        "user"])]
    pub inetd: bool,

    /// Become this user once every address is bound, by name or number
    ///
    /// For a server that root starts: all rights of root are given up, in all threads. The groups
    /// are those of the user; GROUP replaces the first of them. Files are loaded before that, and a
    /// reload reads them as the user.
    #[arg(long, value_name = "USER[:GROUP]", value_parser = identity)]
    pub user: Option<Identity>,

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

    /// How long the successor that SIGUSR2 starts may take until it is ready: 30 seconds unless set
    ///
    /// A successor that fails, or is late, leaves this server as it is.
    #[cfg(feature = "systemd")]
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds, default_value = "30")]
    pub restart_timeout: Duration,

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
    pub admission: AdmissionOptions,

    #[command(flatten)]
    pub bounds: BoundOptions,

    #[cfg(feature = "metrics")]
    #[command(flatten)]
    pub metrics: MetricsOptions,

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
    /// Where to listen: at least one place.
    ///
    /// # Errors
    ///
    /// If a socket was not passed to this program, or cannot be served.
    pub fn places(
        &self,
        #[cfg(feature = "systemd")] passed: &mut PassedSockets,
        #[cfg(feature = "systemd")] is_successor: bool,
    ) -> Result<Vec<Place>, Failure> {
        let default = [Listen::Url(self.handler.default_address.clone())];
        let listeners = match &*self.common.listen {
            [] => &default[..],
            listen => listen,
        };
        let mut places = Vec::new();
        for (index, listen) in listeners.iter().enumerate() {
            match listen {
                #[cfg(feature = "systemd")]
                Listen::Url(url) if is_successor => {
                    let is_tls = matches!(url, Url::Stream(StreamUrl::Tls(_)));
                    places.extend(Place::handed_over(passed, index, is_tls, false)?);
                }
                #[cfg(feature = "systemd")]
                Listen::Passed { is_tls, .. } if is_successor => {
                    places.extend(Place::handed_over(passed, index, *is_tls, true)?);
                }
                Listen::Url(url) => places.push(Place::at(url.clone(), index)),
                #[cfg(feature = "systemd")]
                Listen::Passed { name, is_tls } => {
                    places.extend(Place::passed(passed, name, index, *is_tls)?);
                }
            }
        }
        Ok(places)
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
            tracer: None,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
