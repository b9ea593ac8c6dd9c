//! Serves one handler over any transport with any mix-in.

use std::io::{self, Write};

use socketserver::{
    Address, BaseServer, ForkingMixIn, Server, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
    UdpServer, UnixDatagramServer, UnixStreamServer,
};

use crate::command_line::{MixIn, Serve};
use crate::registry::Entry;
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
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
}

/// Serves until a signal comes and the running requests have ended.
pub fn serve(options: Serve) -> Result<(), Failure> {
    let entry = options.handler;
    let concurrency = Concurrency::new(&options)?;
    let url = options.listen.unwrap_or(entry.default_address.clone());
    match (&url, entry.stream, entry.datagram) {
        (Url::Tcp(place), Some(handler), _) => {
            concurrency.run(TcpServer::new(place.to_string(), handler), &url)
        }
        (Url::Unix(path), Some(handler), _) => {
            concurrency.run(UnixStreamServer::new(path, handler), &url)
        }
        (Url::Udp(place), _, Some(handler)) => {
            let server = UdpServer::new(place.to_string(), handler);
            concurrency.run(server.max_packet_size(MAX_PACKET_SIZE), &url)
        }
        (Url::Unixgram(path), _, Some(handler)) => {
            let server = UnixDatagramServer::new(path, handler);
            concurrency.run(server.max_packet_size(MAX_PACKET_SIZE), &url)
        }
        _ => Err(does_not_speak(entry, &url)),
    }
}

fn does_not_speak(entry: &Entry, url: &Url) -> Failure {
    Failure::Usage(format!(
        "{} does not speak {}; it speaks: {}",
        entry.name,
        url.scheme(),
        entry.transports()
    ))
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
        match (options.mixin, options.workers) {
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
    fn run<S: BaseServer>(self, bottom: S, url: &Url) -> Result<(), Failure> {
        match self {
            Self::None => run(bottom, url),
            Self::Threading => run(bottom.mix_in(ThreadingMixIn::new), url),
            Self::Forking(None) => run(bottom.mix_in(ForkingMixIn::new), url),
            Self::Forking(Some(children)) => {
                let server = bottom.mix_in(ForkingMixIn::new);
                run(server.max_children(children.into()), url)
            }
            Self::Pool(None) => run(bottom.mix_in(ThreadPoolMixIn::new), url),
            Self::Pool(Some(workers)) => {
                let server = bottom.mix_in(ThreadPoolMixIn::new);
                run(server.workers(workers.into()), url)
            }
        }
    }
}

fn run<S: BaseServer>(stack: S, url: &Url) -> Result<(), Failure> {
    let signals = StopSignals::catch().map_err(Failure::Signals)?;
    let server = stack.bind()?;
    signals.stop(server.handle()).map_err(Failure::Signals)?;
    announce(&server, url).map_err(Failure::Output)?;
    server.serve_forever()?;
    log::info!("stopping; a second signal does not wait for running requests");
    let report = server.server_close();
    log::info!("stopped: {report}");
    Ok(())
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
