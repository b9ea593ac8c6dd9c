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
    /// Address to listen on: tcp://HOST:PORT, udp://HOST:PORT, unix:///PATH or unixgram:///PATH
    ///
    /// May be given several times: the server serves all addresses, and is ready when every one is
    /// bound. The default is the handler's own address, which "socketserver list" shows.
    ///
    /// Examples: tcp://127.0.0.1:9000; tcp://[::1]:9000; tcp://0.0.0.0:9000 for every IPv4 address
    /// of this machine; udp://localhost:0; unix:///run/upper.sock for connections;
    /// unixgram:///run/time.sock for datagrams.
    ///
    /// An IPv6 address needs brackets. The host "localhost" means both 127.0.0.1 and [::1]. With
    /// port 0 the system chooses a free port, which the line "listening on" shows. A path may be
    /// relative, and is taken byte for byte. unix://@NAME is a name in Linux's abstract namespace.
    /// tls://HOST:PORT is TCP with encryption, and needs --tls-cert.
    ///
    /// Each address has its own loop, mix-in and limits. An option for connections holds only for
    /// addresses with connections, and an option for a socket's file only for addresses with a
    /// file.
    ///
    /// fd://NAME means the sockets that a socket unit of systemd has opened for this program under
    /// this name. fd://3 is the first of all passed sockets, and fd://4 the second. tls+fd://NAME
    /// is a passed TCP socket whose connections are encrypted.
    #[arg(long, value_name = "URL")]
    listen: Vec<Listen>,

    /// Serve the client at standard input, and exit
    ///
    /// For a program that inetd starts for each client, or systemd for a unit with Accept=yes. If
    /// systemd has passed exactly one socket, that socket is served instead. If the socket is for
    /// datagrams, the program serves datagrams until none has arrived for ten seconds.
    #[arg(long, conflicts_with_all = ["listen", "all_addresses", "shards", "mixin", "workers",
        "user"])]
    pub inetd: bool,

    /// User that the program becomes when every address is bound, by name or number
    ///
    /// For a server that root starts, so that it can bind a port below 1024. Example: --user
    /// www-data. The program gives up all rights of root, in all threads. It has the groups of the
    /// user; GROUP replaces the primary group. The program loads the files of other options before
    /// that, as root. SIGHUP loads them again as the user.
    #[arg(long, value_name = "USER[:GROUP]", value_parser = identity)]
    pub user: Option<Identity>,

    /// Listen on every address of the host name, and not only on the first that can be bound
    ///
    /// The server prints a line "listening on" for each address. Port 0 means one free port, the
    /// same on each address. If this machine has no IPv4, or no IPv6, the addresses of that family
    /// are left out. The host "localhost" means all its addresses without this option.
    #[arg(long)]
    pub all_addresses: bool,

    /// Number of loops that accept clients at each tcp://, tls:// and udp:// address [default: 1]
    ///
    /// From 1 to 1024, for a server whose single loop is too slow. Each loop has its own socket,
    /// and the kernel divides the clients between the sockets (SO_REUSEPORT). Each loop also has
    /// its own mix-in and limits: with 4 shards, --max-connections 100 permits 400 connections.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,

    /// How long the successor that SIGUSR2 starts may take until it is ready, in seconds
    ///
    /// If the successor fails, or is not ready in time, this server goes on.
    #[cfg(feature = "systemd")]
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds, default_value = "30")]
    pub restart_timeout: Duration,

    /// How requests run beside one another [default: threading]
    ///
    /// The default is reactor for http, and none for operator, which permits nothing else.
    #[arg(long, value_enum)]
    pub mixin: Option<MixIn>,

    /// Number of threads with "--mixin pool", or of children with "--mixin forking"
    ///
    /// From 1 to 65535. That many requests run at a time, and further requests wait. The default
    /// for pool is four more than there are processors, and at most 32. The default for forking is
    /// 40.
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

impl CommonOptions {
    /// Whether a layer may stand between a connection and its handler, or may leave bytes that the
    /// layer has read already.
    pub fn may_change_bytes(&self) -> bool {
        #[cfg(feature = "tls")]
        let is_encrypted = self.tls.is_given();
        #[cfg(not(feature = "tls"))]
        let is_encrypted = false;
        #[cfg(feature = "proxy-protocol")]
        let is_behind_proxy = self.proxy.is_given();
        #[cfg(not(feature = "proxy-protocol"))]
        let is_behind_proxy = false;
        is_encrypted || is_behind_proxy || self.auth.has_key()
    }
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
