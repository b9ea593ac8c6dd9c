//! The servers of the program, which are bound, announced and stopped together.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
#[cfg(feature = "metrics")]
use socketserver::MetricsMixIn;
#[cfg(all(feature = "metrics", feature = "tls"))]
use socketserver::TlsConfig;
use socketserver::layer::RequestOf;
use socketserver::{
    Address, BaseServer, MixIn, Request, Serve, Server, Servers, ServersHandle, Tracer,
};

use super::layers::Host;
#[cfg(feature = "metrics")]
use super::metrics::MetricsServer;
#[cfg(feature = "systemd")]
use super::options::Options;
use super::reload::Reload;
#[cfg(feature = "systemd")]
use super::restart::{Predecessor, Restart};
use super::site::Site;
use super::visitor::Visitor;
use crate::failure::{Failure, Problem};
use crate::fork_gate;
use crate::remote::Audience;
#[cfg(feature = "systemd")]
use crate::service_manager::{Pulse, ServiceManager};
use crate::stop::StopSignals;
use crate::url::Url;
use crate::watched::Watched;
use crate::{standard_error, standard_streams};

/// The servers of the program, each with its own loop.
#[derive(Debug)]
pub struct ServerGroup {
    site: Site,
    /// Whether the loops fork.
    forks: bool,
    servers: Servers,
    /// The handle of all servers, for each of them. Set when all servers have joined.
    together: Arc<OnceLock<ServersHandle>>,
    /// The lines `listening on URL`.
    announcement: Vec<u8>,
    #[cfg(feature = "metrics")]
    metrics: Option<MetricsServer>,
    /// The certificates of the server that joins next.
    #[cfg(all(feature = "metrics", feature = "tls"))]
    certificates: Option<TlsConfig>,
    /// The request to load files again, if SIGHUP does not stop the program.
    reload: Option<Reload>,
    /// Where the calls of the program itself are shown.
    tracer: Option<Tracer>,
    /// The URL of the first server, with its real port.
    first_url: Option<Url>,
    #[cfg(feature = "systemd")]
    manager: ServiceManager,
    /// The listener of each server, and that of the next.
    listeners: Vec<usize>,
    listener: usize,
}

/// The permissions that are removed from the file of a Unix socket if only the owner may connect or
/// send.
const OTHERS: Mode = Mode::S_IXUSR.union(Mode::S_IRWXG).union(Mode::S_IRWXO);

/// How long an announcement that has begun may take after a signal.
const ANNOUNCING: Duration = Duration::from_millis(500);

/// What ends the wait for the announcement.
enum Event {
    Announced(io::Result<()>),
    Signal(i32),
}

impl ServerGroup {
    /// No servers yet.
    pub fn new(
        site: Site,
        forks: bool,
        tracer: Option<Tracer>,
        files: &[Watched],
        #[cfg(feature = "systemd")] manager: ServiceManager,
    ) -> Self {
        #[cfg(feature = "systemd")]
        let reload = || Reload::new(files, manager.clone());
        #[cfg(not(feature = "systemd"))]
        let reload = || Reload::new(files);
        Self {
            reload: (!files.is_empty()).then(reload),
            site,
            forks,
            servers: Servers::new(),
            together: Arc::default(),
            announcement: Vec::new(),
            #[cfg(feature = "metrics")]
            metrics: None,
            #[cfg(all(feature = "metrics", feature = "tls"))]
            certificates: None,
            tracer,
            first_url: None,
            #[cfg(feature = "systemd")]
            manager,
            listeners: Vec::new(),
            listener: 0,
        }
    }

    /// Shows the numbers of the servers that join from now on, until the last request has ended.
    #[cfg(feature = "metrics")]
    pub fn show(&mut self, metrics: MetricsServer) {
        self.metrics = Some(metrics);
    }

    /// Puts the layer around a stack that counts for the metrics, if there are any.
    #[cfg(feature = "metrics")]
    fn measured<S: BaseServer>(&mut self, stack: S) -> MetricsMixIn<S> {
        let metrics = self.metrics.as_ref().map(|server| &server.metrics);
        let layer = MetricsMixIn::optional(stack, metrics);
        #[cfg(feature = "tls")]
        if let Some(config) = self.certificates.take() {
            return layer.certificates(move || config.expiries());
        }
        layer
    }

    /// Binds a server at `url`. Returns its addresses.
    fn add<S: BaseServer>(&mut self, stack: S, url: &Url) -> Result<Vec<Address>, Failure> {
        #[cfg(feature = "metrics")]
        let stack = self.measured(stack);
        let member = Member {
            next: stack,
            forks: self.forks,
            together: self.together.clone(),
            reload: self.reload.clone(),
            #[cfg(feature = "systemd")]
            pulse: self.manager.pulse(),
        };
        let server = self.bind(member, url)?;
        let addresses = server.server_addresses();
        // A name may have another address than before, when the options were checked.
        for address in &addresses {
            self.site.exposure.permit(address)?;
        }
        self.site.bounds.apply(&server);
        #[cfg(feature = "systemd")]
        if let Some(interval) = self.manager.service_interval() {
            server.set_service_interval(Some(interval));
        }
        #[cfg(feature = "metrics")]
        if let Some(address) = addresses.first() {
            let label = String::from_utf8_lossy(&url.at(address).to_bytes()).into_owned();
            server.stack().next.set_listener(label);
        }
        self.servers = std::mem::take(&mut self.servers).with(server);
        self.listeners.push(self.listener);
        if let (None, Some(address)) = (&self.first_url, addresses.first()) {
            self.first_url = Some(url.at(address));
        }
        self.announce(url, &addresses);
        Ok(addresses)
    }

    /// The next servers are those of this listener.
    pub fn begin(&mut self, listener: usize) {
        self.listener = listener;
    }

    /// Serves until a signal arrives, or the visitor stops the servers, and the running requests
    /// have ended. SIGUSR2 starts a successor. A program that is the successor itself takes over
    /// from its `predecessor`, which has announced the addresses.
    pub fn serve(
        self,
        signals: StopSignals,
        visitor: Option<Visitor>,
        #[cfg(feature = "systemd")] options: &Options,
        #[cfg(feature = "systemd")] predecessor: Option<Predecessor>,
    ) -> Result<(), Failure> {
        let Self {
            servers,
            together,
            announcement,
            #[cfg(feature = "metrics")]
            mut metrics,
            reload,
            tracer,
            first_url,
            #[cfg(feature = "systemd")]
            manager,
            #[cfg(feature = "systemd")]
            listeners,
            ..
        } = self;
        #[cfg(feature = "metrics")]
        let announcement = match &metrics {
            Some(metrics) => [announcement, metrics.line.clone()].concat(),
            None => announcement,
        };
        let handle = servers.handle();
        // Set once, here.
        let _ = together.set(handle.clone());
        let (events, event) = mpsc::channel();
        let signalled = events.clone();
        if let Some(reload) = reload {
            let handle = handle.clone();
            signals.on_hangup(move || reload.request(&handle));
        }
        #[cfg(feature = "systemd")]
        let restart = {
            let restart = Restart::new(handle.clone(), listeners, manager.clone(), options);
            #[cfg(feature = "metrics")]
            let restart = restart.with_metrics(metrics.as_ref().map(MetricsServer::handle));
            let restart = Arc::new(restart);
            let begun = restart.clone();
            signals.on_restart(move || begun.begin());
            restart
        };
        #[cfg(feature = "systemd")]
        let stopping = (manager.clone(), handle.clone());
        signals.on_first(move |signal| {
            // An error is ignored: the servers have been announced.
            let _ = signalled.send(Event::Signal(signal));
            handle.request_shutdown();
            #[cfg(feature = "systemd")]
            stopping.0.stopping(stopping.1);
            // `shutdown` waits, and aborts the requests that run at the drain timeout: a server
            // without a mix-in has no other thread for that. If the thread cannot be started, the
            // user still has the second signal.
            let _ = thread::Builder::new().spawn(move || handle.shutdown());
        });
        #[cfg(feature = "systemd")]
        let is_announced = predecessor.is_some();
        #[cfg(not(feature = "systemd"))]
        let is_announced = false;
        #[cfg(feature = "systemd")]
        if let Some(predecessor) = predecessor {
            predecessor.relieve()?;
        }
        #[cfg(feature = "metrics")]
        if let Some(metrics) = &mut metrics {
            metrics.start()?;
        }
        if !is_announced {
            announce(announcement, events, &event)?;
        }
        #[cfg(feature = "systemd")]
        restart.permit();
        #[cfg(feature = "systemd")]
        manager.ready();
        if let (Some(visitor), Some(url)) = (visitor, first_url) {
            let handle = servers.handle();
            let visit = thread::Builder::new().name("client".to_owned());
            let visit = visit.spawn(move || visitor(&url, &handle));
            visit.map_err(Failure::Thread)?;
        }
        let tracer = tracer.as_ref();
        let served = shown(tracer, "serve_forever", || servers.serve_forever());
        #[cfg(feature = "systemd")]
        manager.stopping(servers.handle());
        if served.is_ok() {
            log::info!("stopping; a second signal does not wait for running requests");
        }
        let report = shown(tracer, "server_close", || servers.server_close());
        // Only now, because the metrics show the drain.
        #[cfg(feature = "metrics")]
        drop(metrics);
        #[cfg(feature = "systemd")]
        manager.finish();
        standard_error::print_line(format!("stopped; requests: {report}"));
        Ok(served?)
    }

    /// Binds the server. If the clients of a Unix socket have to be the same user, only the owner
    /// may write to its file. About the sender of a datagram, the operating system knows no more
    /// than that.
    fn bind<S: BaseServer>(&self, stack: S, url: &Url) -> Result<Server<S>, Failure> {
        if self.site.audience == Audience::Everybody || url.host_port().is_some() {
            return Ok(shown(self.tracer.as_ref(), "bind", || stack.bind())?);
        }
        // No other thread makes a file now.
        let mask = umask(OTHERS);
        let bound = shown(self.tracer.as_ref(), "bind", || stack.bind());
        umask(mask);
        Ok(bound?)
    }

    /// Adds a line `listening on URL` for each new address.
    fn announce(&mut self, url: &Url, addresses: &[Address]) {
        for address in addresses {
            let line = [b"listening on ", &*url.at(address).to_bytes(), b"\n"].concat();
            // Shards have the same address, which has one line.
            let lines = self.announcement.split_inclusive(|byte| *byte == b'\n');
            if !lines.into_iter().any(|it| it == line) {
                self.announcement.extend(line);
            }
        }
    }
}

/// Prints the announcement in a thread, so that a signal ends the program even if nobody reads
/// standard output.
fn announce(
    announcement: Vec<u8>,
    events: Sender<Event>,
    event: &Receiver<Event>,
) -> Result<(), Failure> {
    let announcing = thread::Builder::new().name("announcement".to_owned());
    let announcing = announcing
        .spawn(move || events.send(Event::Announced(standard_streams::print(announcement))));
    let announcing = announcing.map_err(Failure::Thread)?;
    let announced = match event.recv() {
        // A reader of the line may send the signal before the thread has sent its event.
        Ok(Event::Signal(signal)) => match event.recv_timeout(ANNOUNCING) {
            Ok(Event::Announced(announced)) => announced,
            _ => return Err(Failure::Interrupted(signal)),
        },
        Ok(Event::Announced(announced)) => announced,
        Err(mpsc::RecvError) => Ok(()),
    };
    announced.map_err(|error| Failure::Here(Problem::Output(error)))?;
    // The thread has ended before the first fork, so that no child inherits a lock that the thread
    // holds.
    let _ = announcing.join();
    Ok(())
}

impl<R: Request> Host<R> for ServerGroup {
    #[cfg(all(feature = "metrics", feature = "tls"))]
    fn show_certificates(&mut self, config: &TlsConfig) {
        self.certificates = Some(config.clone());
    }

    fn join<S: BaseServer<Request = R>>(
        &mut self,
        stack: S,
        url: &Url,
    ) -> Result<Vec<Address>, Failure> {
        self.add(stack, url)
    }
}

/// Makes a call to the server, and shows it if there is a tracer.
fn shown<T>(tracer: Option<&Tracer>, method: &'static str, call: impl FnOnce() -> T) -> T {
    match tracer {
        Some(tracer) => tracer.call("Server", method, call),
        None => call(),
    }
}

/// The outermost layer of each server. If one server ends, all servers end. A loop forks only while
/// no other thread holds a lock that the child may need.
#[derive(Debug)]
struct Member<S> {
    next: S,
    forks: bool,
    together: Arc<OnceLock<ServersHandle>>,
    reload: Option<Reload>,
    /// The sign for a watchdog that the loop runs.
    #[cfg(feature = "systemd")]
    pulse: Pulse,
}

impl<S: BaseServer> MixIn for Member<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn process_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        let _forking = self.forks.then(fork_gate::hold);
        self.next.process_request(top, request);
    }

    fn after_fork_in_child(&self) {
        fork_gate::open_in_child();
        self.next.after_fork_in_child();
    }

    fn service_actions(&self) {
        #[cfg(feature = "systemd")]
        self.pulse.beat();
        if let Some(reload) = &self.reload {
            reload.act();
        }
        // A handler may stop its server, as the handler of an operator does.
        if self.layer_handle().server().is_draining()
            && let Some(servers) = self.together.get()
        {
            servers.request_shutdown();
        }
        self.next.service_actions();
    }
}
