//! Serves one handler over any transport with any mix-in.

use std::io::{self, Write};

use socketserver::{
    Address, BaseServer, ForkingMixIn, Server, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
    UdpServer, UnixDatagramServer, UnixStreamServer,
};
use socketserver_handlers::auth::KeyError;

use crate::bounds::Bounds;
use crate::command_line::{MixIn, Serve};
use crate::exposure::Exposure;
use crate::handler_options::HandlerOptions;
use crate::registry::Entry;
use crate::service::{Factory, Service};
use crate::signals::StopSignals;
use crate::url::Url;

/// Datagrams are received up to this size, in bytes, which is more than UDP can carry.
const MAX_PACKET_SIZE: usize = 65_535;

/// Why nothing is served, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error("cannot catch signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Server(#[from] socketserver::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// Serves until a signal comes and the running requests have ended.
pub fn serve(options: Serve) -> Result<(), Failure> {
    let entry = options.handler;
    let concurrency = Concurrency::new(&options)?;
    let for_handler = &options.for_handler;
    let url = options.listen.unwrap_or(entry.default_address.clone());
    options.auth.check(&url).map_err(Failure::Usage)?;
    options.bounds.check(&url).map_err(Failure::Usage)?;
    let place = Place {
        exposure: entry.exposure.or_anywhere(for_handler.allow_remote()),
        url,
        bounds: options.bounds,
    };
    match (&place.url, &entry.stream, &entry.datagram) {
        (Url::Tcp(address), Some(service), _) => {
            let handler = place.factory(entry, service, for_handler)?;
            let handler = options.auth.guard(handler)?;
            concurrency.run(TcpServer::new(address.to_string(), handler), &place)
        }
        (Url::Unix(path), Some(service), _) => {
            let handler = place.factory(entry, service, for_handler)?;
            let handler = options.auth.guard(handler)?;
            concurrency.run(UnixStreamServer::new(path, handler), &place)
        }
        (Url::Udp(address), _, Some(service)) => {
            let handler = place.factory(entry, service, for_handler)?;
            let server = UdpServer::new(address.to_string(), handler);
            concurrency.run(server.max_packet_size(MAX_PACKET_SIZE), &place)
        }
        (Url::Unixgram(path), _, Some(service)) => {
            let handler = place.factory(entry, service, for_handler)?;
            let server = UnixDatagramServer::new(path, handler);
            concurrency.run(server.max_packet_size(MAX_PACKET_SIZE), &place)
        }
        _ => Err(Failure::Usage(entry.does_not_speak(&place.url))),
    }
}

/// Where a handler is served, to whom, and within which bounds.
struct Place {
    url: Url,
    exposure: Exposure,
    bounds: Bounds,
}

impl Place {
    /// The factory, once the options and the address have been found to make sense.
    fn factory<R>(
        &self,
        entry: &Entry,
        service: &Service<R>,
        options: &HandlerOptions,
    ) -> Result<Factory<R>, Failure> {
        let checked = entry.check_options(options.given(), &self.url);
        checked.map_err(Failure::Usage)?;
        self.exposure.check_url(&self.url).map_err(Failure::Usage)?;
        (service.factory)(options)
    }
}

fn does_not_mix(entry: &Entry, mixin: MixIn) -> String {
    let name = |mixin: &MixIn| format!("{mixin:?}").to_lowercase();
    let possible = Vec::from_iter(entry.mixins.iter().map(name)).join(", ");
    format!(
        "{} cannot be served with --mixin {}; what can be: {possible}",
        entry.name,
        name(&mixin)
    )
}

/// A mix-in with its options.
#[derive(Debug, Clone, Copy)]
enum Concurrency {
    None,
    Threading,
    Forking(Option<u16>),
    Pool(Option<u16>),
}

impl Concurrency {
    fn new(options: &Serve) -> Result<Self, Failure> {
        let entry = options.handler;
        let mixin = options.mixin.unwrap_or(entry.mixins[0]);
        if !entry.mixins.contains(&mixin) {
            return Err(Failure::Usage(does_not_mix(entry, mixin)));
        }
        match (mixin, options.workers) {
            (MixIn::None, None) => Ok(Self::None),
            (MixIn::Threading, None) => Ok(Self::Threading),
            (MixIn::Forking, workers) => Ok(Self::Forking(workers)),
            (MixIn::Pool, workers) => Ok(Self::Pool(workers)),
            (MixIn::None | MixIn::Threading, Some(_)) => {
                let message = "--workers is for --mixin pool and --mixin forking only";
                Err(Failure::Usage(message.to_owned()))
            }
        }
    }

    /// Puts the mix-in around the bottom layer, and serves.
    fn run<S: BaseServer>(self, bottom: S, place: &Place) -> Result<(), Failure> {
        match self {
            Self::None => run(bottom, place),
            Self::Threading => run(bottom.mix_in(ThreadingMixIn::new), place),
            Self::Forking(None) => run(bottom.mix_in(ForkingMixIn::new), place),
            Self::Forking(Some(children)) => {
                let server = bottom.mix_in(ForkingMixIn::new);
                run(server.max_children(children.into()), place)
            }
            Self::Pool(None) => run(bottom.mix_in(ThreadPoolMixIn::new), place),
            Self::Pool(Some(workers)) => {
                let server = bottom.mix_in(ThreadPoolMixIn::new);
                run(server.workers(workers.into()), place)
            }
        }
    }
}

fn run<S: BaseServer>(stack: S, place: &Place) -> Result<(), Failure> {
    let signals = StopSignals::catch().map_err(Failure::Signals)?;
    let mut server = stack.bind()?;
    place.bounds.apply(&mut server);
    // What a name stands for may have changed since it was looked up.
    let checked = place.exposure.check(&server.server_address());
    checked.map_err(Failure::Usage)?;
    signals.stop(server.handle()).map_err(Failure::Signals)?;
    announce(&server, &place.url).map_err(Failure::Output)?;
    let served = server.serve_forever();
    if served.is_ok() {
        log::info!("stopping; a second signal does not wait for running requests");
    }
    let report = server.server_close();
    // Whatever the log's level is. Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "stopped; requests: {report}");
    Ok(served?)
}

/// Prints the line that tells that clients may come, and where to: with the real port.
fn announce<S: BaseServer>(server: &Server<S>, url: &Url) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match server.server_address() {
        Address::Inet(_) => {
            writeln!(
                stdout,
                "listening on {}://{}",
                url.scheme(),
                server.server_address()
            )?;
        }
        _ => writeln!(stdout, "listening on {url}")?,
    }
    stdout.flush()
}
