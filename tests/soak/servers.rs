//! A server in a process of its own, which does what it is told on its standard input, line by
//! line, and answers each line with one on its standard output.
//!
//! The loop runs in the first thread. A second thread reads the orders. It does so also where the
//! loop forks: between two orders it only waits, which is what `ForkingMixIn` allows other threads.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use socketserver::{
    Address, BaseServer, Deadlines, DrainReport, Error, ForkingMixIn, Limits, ProxyProtocolMixIn,
    ReactorMixIn, Serve, Server, ServerHandle, Statistics, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn, TlsMixIn, TlsOptions, UdpServer, UnixDatagramServer, UnixStreamServer,
};

use crate::census::Census;
use crate::closing::Closing;
use crate::handler::Service;
use crate::kinds::{Kind, MixIn, Transport};
use crate::wire::{LONGEST_PACKET, REFUSAL};

/// What a client has for each part of an exchange: more than a good one needs on a busy machine,
/// most of the time.
const DEADLINE: Duration = Duration::from_millis(700);

/// How long a connection lasts at most, so that a server without a mix-in comes to the next.
const LIFETIME: Duration = Duration::from_secs(3);

/// Less than the deadlines, so that some requests are aborted.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(300);

/// A datagram has no connection that could be aborted. Its reply is given up after a second if a
/// Unix client takes none, and behind each worker of a pool waits another.
const DRAIN_TIMEOUT_OF_DATAGRAMS: Duration = Duration::from_secs(4);

/// Short, so that threads are started anew all the time.
const KEEP_ALIVE: Duration = Duration::from_millis(100);

/// The files of the certificate and of its key, in the directory of the servers.
pub const IDENTITY: [&str; 2] = ["certificate.pem", "key.pem"];

const MAX_CHILDREN: usize = 12;
const WORKERS: usize = 4;
const ANY_PORT: &str = "127.0.0.1:0";

/// What the thread with the orders tells the one with the loop: where to listen.
type Place = String;

/// What the thread with the loop answers.
enum Event {
    Open(ServerHandle),
    Closed(Statistics, DrainReport),
}

/// The other thread's end of the server.
struct Loop {
    places: Receiver<Place>,
    events: Sender<Event>,
    closing: Arc<AtomicBool>,
    drain_timeout: Duration,
}

/// Is the server of this kind until standard input ends.
pub fn run(kind: Kind, directory: &Path) -> ExitCode {
    if std::env::var_os("RUST_LOG").is_some() {
        env_logger::init();
    }
    let (to_loop, places) = channel();
    let (events, from_loop) = channel();
    let closing = Arc::<AtomicBool>::default();
    let in_loop = Loop {
        places,
        events,
        closing: closing.clone(),
        drain_timeout: match kind.transport.is_stream() || kind.forks() {
            true => DRAIN_TIMEOUT,
            false => DRAIN_TIMEOUT_OF_DATAGRAMS,
        },
    };
    let place = match kind.transport.is_unix() {
        true => directory.join(kind.to_string().replace('/', "-")),
        false => ANY_PORT.into(),
    };
    let place = place
        .to_str()
        .expect("the path is of our making")
        .to_owned();
    std::thread::spawn(move || {
        let orders = Orders {
            place,
            to_loop,
            from_loop,
            closing,
            open: None,
        };
        let failed = orders.follow().err();
        failed.map_or_else(|| std::process::exit(0), |error| fail(kind, error))
    });
    let in_child = kind.forks();
    let make = move || Service { in_child };
    let ended = match kind.transport {
        Transport::Tcp => serve(kind, &in_loop, |place| TcpServer::new(place, make)),
        Transport::Tls => {
            let [certificate, key] = IDENTITY.map(|name| directory.join(name));
            let config = TlsOptions::new(certificate, key).load();
            let config = config.unwrap_or_else(|error| fail(kind, error));
            serve(kind, &in_loop, |place| {
                TlsMixIn::new(TcpServer::new(place, make), config.clone())
                    .handshake_timeout(Some(DEADLINE))
            })
        }
        Transport::Proxied => serve(kind, &in_loop, |place| {
            ProxyProtocolMixIn::new(TcpServer::new(place, make))
                .trust("127.0.0.0/8".parse().expect("it is a network"))
                .header_timeout(Some(DEADLINE))
        }),
        Transport::Udp => serve(kind, &in_loop, |place| {
            UdpServer::new(place, make).max_packet_size(LONGEST_PACKET)
        }),
        Transport::UnixStream => serve(kind, &in_loop, |place| UnixStreamServer::new(place, make)),
        Transport::UnixDatagram => serve(kind, &in_loop, |place| {
            UnixDatagramServer::new(place, make).max_packet_size(LONGEST_PACKET)
        }),
    };
    ended.map_or_else(|error| fail(kind, error), |()| ExitCode::SUCCESS)
}

fn fail(kind: Kind, error: impl Display) -> ! {
    eprintln!("{kind}: {error}");
    std::process::exit(1)
}

fn serve<B: BaseServer>(
    kind: Kind,
    in_loop: &Loop,
    bottom: impl Fn(&str) -> B,
) -> Result<(), Error> {
    match kind.mix_in {
        MixIn::None => in_loop.run(|place| bottom(place).bind()),
        MixIn::Threading => in_loop.run(|place| {
            let threading = bottom(place).mix_in(ThreadingMixIn::new);
            threading.keep_alive(KEEP_ALIVE).bind()
        }),
        MixIn::Forking => in_loop.run(|place| {
            let forking = bottom(place).mix_in(ForkingMixIn::new);
            forking.max_children(MAX_CHILDREN).bind()
        }),
        MixIn::Pool => in_loop.run(|place| {
            let pool = bottom(place).mix_in(ThreadPoolMixIn::new);
            pool.workers(WORKERS).bind()
        }),
        MixIn::Reactor => in_loop.run(|place| {
            let reactor = bottom(place).mix_in(ReactorMixIn::new);
            reactor.keep_alive(KEEP_ALIVE).bind()
        }),
    }
}

impl Loop {
    /// Opens a server at each place, and closes it when that is ordered.
    fn run<S: BaseServer>(
        &self,
        bind: impl Fn(&str) -> Result<Server<S>, Error>,
    ) -> Result<(), Error> {
        for place in &self.places {
            let server = match bind(&place) {
                // Somebody has got the port since it was closed.
                Err(Error::AddressInUse { .. }) => bind(ANY_PORT)?,
                bound => bound?,
            };
            server.set_drain_timeout(Some(self.drain_timeout));
            let handle = server.handle();
            handle.set_deadlines(Deadlines::uniform(DEADLINE).with_lifetime(LIFETIME));
            let _ = self.events.send(Event::Open(handle.clone()));
            while !self.closing.load(SeqCst) {
                server.serve_forever()?;
            }
            self.closing.store(false, SeqCst);
            let report = server.server_close();
            let statistics = handle.statistics();
            // It holds descriptors, which are counted as soon as the server is said to be closed.
            drop(handle);
            let _ = self.events.send(Event::Closed(statistics, report));
        }
        Ok(())
    }
}

/// The thread with the orders.
struct Orders {
    /// Where to listen the next time.
    place: Place,
    to_loop: Sender<Place>,
    from_loop: Receiver<Event>,
    closing: Arc<AtomicBool>,
    open: Option<ServerHandle>,
}

impl Orders {
    fn follow(mut self) -> io::Result<()> {
        for order in io::stdin().lines() {
            let answer = self.obey(&order?)?;
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{answer}")?;
            stdout.flush()?;
        }
        Ok(())
    }

    fn obey(&mut self, order: &str) -> io::Result<String> {
        match order {
            "open" => return self.open(),
            "close" => return self.close(),
            "census" => {
                let active = self
                    .open
                    .as_ref()
                    .map_or(0, ServerHandle::active_request_count);
                return Ok(Census::take(active)?.to_line());
            }
            _ => {}
        }
        let open = self.open()?;
        let handle = self.open.as_ref().ok_or_else(|| io::Error::other(open))?;
        match order {
            "restart" => handle.shutdown(),
            "suspend" => handle.suspend(),
            "resume" => handle.resume(),
            "limits default" => handle.set_limits(Limits::default()),
            "limits wait" => handle.set_limits(Limits::none().with_max_connections(8)),
            "limits refuse" => {
                handle.set_limits(Limits::none().with_max_connections(10).refuse_with(REFUSAL));
            }
            "limits address" => {
                let limits = Limits::none().with_max_connections_per_address(6);
                handle.set_limits(limits.refuse_with(REFUSAL));
            }
            _ => return Err(io::Error::other(format!("{order}: what is that?"))),
        }
        Ok("done".to_owned())
    }

    /// Opens the server unless it is open, and says where it is.
    fn open(&mut self) -> io::Result<String> {
        if self.open.is_none() {
            let gone = || io::Error::other("the loop has gone");
            self.to_loop.send(self.place.clone()).map_err(|_| gone())?;
            let Ok(Event::Open(handle)) = self.from_loop.recv() else {
                return Err(gone());
            };
            self.place = match handle.server_address() {
                Address::Inet(address) => address.to_string(),
                _ => self.place.clone(),
            };
            self.open = Some(handle);
        }
        Ok(self.place.clone())
    }

    fn close(&mut self) -> io::Result<String> {
        let handle = self.open.take();
        let handle = handle.ok_or_else(|| io::Error::other("there is no open server"))?;
        self.closing.store(true, SeqCst);
        handle.shutdown();
        match self.from_loop.recv() {
            Ok(Event::Closed(statistics, report)) => {
                Ok(Closing::of(&statistics, &report).to_line())
            }
            _ => Err(io::Error::other("the loop has gone")),
        }
    }
}
