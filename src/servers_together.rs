//! Several servers that run as one program.

use std::fmt;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use crate::base_server::BaseServer;
use crate::running::server_handle::ServerHandle;
use crate::server::Server;
use crate::values::address::Address;
use crate::values::drain_report::DrainReport;
use crate::values::error::Error;

/// Several servers that run together: TCP and UDP on one port, an administrator's port beside the
/// service, a Unix socket beside both.
///
/// Each server has its own handlers, mix-in, limits and statistics, and its own thread for its
/// loop. The servers stop together, when one of them fails and when the [handle](Self::handle)
/// stops them. A single server with several addresses needs no `Servers`: see
/// [`InetAddress`](crate::InetAddress).
///
/// Only a bound server can be added. So a program whose second server cannot be bound ends with `?`
/// before the first server has served a client. The drop of the value closes every server.
///
/// Several servers may share one address, each with its own loop and socket: see
/// [`allow_reuse_port`](crate::TcpServer::allow_reuse_port).
///
/// A [`ForkingMixIn`](crate::ForkingMixIn) among the servers forks a process that has other
/// threads, namely the loops of the other servers. Its documentation has the conditions for such a
/// fork.
///
/// Python has no counterpart: a program starts a thread for the `serve_forever` of each server.
///
/// ```
/// use socketserver::{Servers, ThreadingTcpServer, UdpServer, datagram_handler_fn, handler_fn};
///
/// let tcp = ThreadingTcpServer::bind("127.0.0.1:0", handler_fn(|_| Ok(())))?;
/// let address = tcp.server_address();
/// # let address = address.port().map(|port| ([127, 0, 0, 1], port)).unwrap();
/// let udp = UdpServer::bind(address, datagram_handler_fn(|_| Ok(())))?;
/// let servers = Servers::new().with(tcp).with(udp);
/// # servers.handle().request_shutdown(); // So that the example ends.
/// servers.serve_forever()?;
/// let report = servers.server_close();
/// # assert_eq!(report.running, 0);
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Default)]
#[must_use = "servers that are dropped are closed"]
pub struct Servers {
    servers: Vec<Box<dyn Member>>,
}

impl Servers {
    /// Makes a value without servers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a server.
    pub fn with<S: BaseServer>(mut self, server: Server<S>) -> Self {
        self.servers.push(Box::new(server));
        self
    }

    /// Serves until every server has been stopped. If a server fails, the others are stopped too.
    ///
    /// One loop runs in the calling thread, and each of the others in a thread of its own. A server
    /// that is stopped by its own handle ends alone. After a shutdown, this method can be called
    /// again.
    ///
    /// # Errors
    ///
    /// The error of the server that failed first, as [`Server::serve_forever`] returns it; or
    /// [`Error::Activate`] if the system has no thread for a loop.
    ///
    /// # Panics
    ///
    /// As [`Server::serve_forever`]. The other servers are stopped before the panic goes on.
    pub fn serve_forever(&self) -> Result<(), Error> {
        let Some((first, others)) = self.servers.split_first() else {
            return Ok(());
        };
        let run = |server: &dyn Member| {
            let mut others = StopOthers(Some(self.handle()));
            let served = server.serve_forever();
            if served.is_ok() {
                others.0 = None;
            }
            served
        };
        let mut failures = Vec::new();
        thread::scope(|scope| {
            let mut loops = Vec::new();
            for server in others {
                let started = thread::Builder::new()
                    .name("serve".to_owned())
                    .spawn_scoped(scope, || run(&**server));
                match started {
                    Ok(thread) => loops.push(thread),
                    Err(source) => {
                        self.handle().request_shutdown();
                        let address = server.handle().server_address();
                        failures.push(Error::activate(address, source));
                    }
                }
            }
            failures.extend(run(&**first).err());
            for thread in loops {
                match thread.join() {
                    Ok(served) => failures.extend(served.err()),
                    Err(panic) => resume_unwind(panic),
                }
            }
        });
        match failures.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Closes every server, all at the same time, and returns the sum of their reports. See
    /// [`Server::server_close`].
    #[allow(clippy::must_use_candidate)]
    pub fn server_close(self) -> DrainReport {
        // The stop is requested before the first wait, so that all drains run at the same time.
        self.handle().request_shutdown();
        let mut servers = self.servers.into_iter();
        let Some(first) = servers.next() else {
            return DrainReport::default();
        };
        thread::scope(|scope| {
            let closing = servers.filter_map(|server| {
                let close = move || server.server_close();
                // Without a thread, the drop of the closure closes the server.
                thread::Builder::new().spawn_scoped(scope, close).ok()
            });
            let closing = Vec::from_iter(closing);
            let first = first.server_close();
            let report = |thread: ScopedJoinHandle<'_, DrainReport>| {
                thread.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            closing.into_iter().map(report).chain([first]).sum()
        })
    }

    /// Returns the handle that stops every server, for another thread.
    #[must_use]
    pub fn handle(&self) -> ServersHandle {
        let handles = self.servers.iter().map(|server| server.handle());
        ServersHandle(handles.collect())
    }

    /// Returns every address that the servers listen on, in the order in which they were added.
    #[must_use]
    pub fn server_addresses(&self) -> Vec<Address> {
        let ServersHandle(handles) = self.handle();
        let addresses = handles.iter().flat_map(ServerHandle::server_addresses);
        addresses.collect()
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Servers")
            .field(&self.server_addresses())
            .finish()
    }
}

/// The handle of [several servers](Servers), for other threads.
#[derive(Debug, Clone)]
pub struct ServersHandle(Vec<ServerHandle>);

impl ServersHandle {
    /// Returns the handle of each server, in the order in which they were added.
    #[must_use]
    pub fn each(&self) -> &[ServerHandle] {
        &self.0
    }

    /// Requests the stop of every server, and returns at once. See
    /// [`ServerHandle::request_shutdown`].
    pub fn request_shutdown(&self) {
        for handle in &self.0 {
            handle.request_shutdown();
        }
    }

    /// Stops every server, and waits until each loop has ended. See [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.request_shutdown();
        // A server without a mix-in waits for its handler, so the waits must not add up.
        thread::scope(|scope| {
            for handle in &self.0 {
                let waits = thread::Builder::new().spawn_scoped(scope, || handle.shutdown());
                if waits.is_err() {
                    handle.shutdown();
                }
            }
        });
    }
}

/// Stops every server when it is dropped while it has a handle, which is so after a failure or a
/// panic.
struct StopOthers(Option<ServersHandle>);

impl Drop for StopOthers {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.request_shutdown();
        }
    }
}

/// A server of any stack of layers.
trait Member: Send + Sync {
    fn handle(&self) -> ServerHandle;
    fn serve_forever(&self) -> Result<(), Error>;
    fn server_close(self: Box<Self>) -> DrainReport;
}

impl<S: BaseServer> Member for Server<S> {
    fn handle(&self) -> ServerHandle {
        Self::handle(self)
    }

    fn serve_forever(&self) -> Result<(), Error> {
        Self::serve_forever(self)
    }

    fn server_close(self: Box<Self>) -> DrainReport {
        Self::server_close(*self)
    }
}
