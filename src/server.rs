//! The server that the caller owns: the methods that make, start and stop it.

mod backlog;
pub(crate) mod pass;
mod serving;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base_server::{BaseServer, Layers, process_request_thread};
use crate::running::client_name::OpenServer;
use crate::running::request_log::log_held_back;
use crate::running::server_handle::ServerHandle;
use crate::running::shared::Shared;
use crate::server::pass::Pass;
use crate::support::deadline::Deadline;
use crate::values::address::Address;
use crate::values::drain_report::DrainReport;
use crate::values::error::Error;

/// A server: a stack of layers, and the loop that calls their hooks.
///
/// [`Serve::bind`] makes a server of any stack. Aliases such as
/// [`ThreadingTcpServer`](crate::ThreadingTcpServer) name the usual stacks, and have a
/// [`bind`](Server::bind) of their own. The methods are those that CPython's source lists under
/// "methods for the caller".
///
/// The drop of a server closes it, as [`server_close`](Self::server_close) does, and as the end of
/// a `with` block does in Python. If the thread is panicking, running requests are aborted at once.
///
/// ```
/// use std::io::{Read, Write};
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};
///
/// /// Sends back what comes.
/// struct Echo;
///
/// impl RequestHandler for Echo {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         let mut buffer = [0; 1024];
///         while request.wait()? {
///             let count = request.read(&mut buffer)?;
///             request.write_all(&buffer[..count])?;
///         }
///         Ok(())
///     }
/// }
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || Echo)?;
/// println!("listening on {}", server.server_address());
/// # server.shutdown(); // So that the example ends: the loop below returns at once.
/// server.serve_forever()?;
/// let report = server.server_close();
/// # assert_eq!(report.running, 0);
/// # Ok::<(), socketserver::Error>(())
/// ```
#[must_use = "a server that is dropped is closed"]
pub struct Server<S: BaseServer> {
    top: Arc<S>,
    /// `None` once the server is closed. The bottom layer owns the socket too. Because of this
    /// second owner, a descriptor that is borrowed from the server stays valid.
    socket: Option<Arc<OwnedFd>>,
    /// The socket after bind(2), if bind(2) has replaced it: by a socket of another family, or by
    /// the descriptor of several sockets.
    bound_socket: OnceLock<Arc<OwnedFd>>,
    _open: OpenServer,
}

impl<S: BaseServer> Server<S> {
    fn new(layers: S) -> Result<Self, Error> {
        let socket = layers.socket()?;
        let shared = layers.layer_handle().shared();
        shared.waker().map_err(|source| Error::CreateWaker {
            address: layers.layer_handle().server().server_address(),
            source,
        })?;
        let top = Arc::new(layers);
        let events = Layers::new(&top);
        top.layer_handle().shared().set_events(Box::new(events));
        Ok(Self {
            top,
            socket: Some(socket),
            bound_socket: OnceLock::new(),
            _open: OpenServer::count(),
        })
    }

    fn shared(&self) -> &Shared {
        self.top.layer_handle().shared()
    }

    /// Binds the socket of a server that [`into_server`](Serve::into_server) has made. Python's
    /// `server_bind`.
    ///
    /// # Errors
    ///
    /// If the address is not available. The message of the error has the remedy.
    pub fn server_bind(&self) -> Result<(), Error> {
        self.top.server_bind()?;
        let bound = self.top.socket()?;
        if !self
            .socket
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, &bound))
        {
            // Only the first call succeeds in binding.
            let _ = self.bound_socket.set(bound);
        }
        Ok(())
    }

    /// Activates a bound server, to which clients can connect from now on. Python's
    /// `server_activate`.
    ///
    /// # Errors
    ///
    /// If the socket cannot listen, or a layer cannot be activated: a pool, for example, cannot
    /// start its threads.
    pub fn server_activate(&self) -> Result<(), Error> {
        self.top.server_activate()
    }

    /// Serves requests until [`shutdown`](Self::shutdown) is called. After a shutdown, this method
    /// can be called again.
    ///
    /// The loop waits on the socket and on its waker together, without a poll interval (Python's
    /// `poll_interval`, half a second). So a stop request takes effect at once, and an idle loop
    /// makes no system calls. The steps of a request are the hooks of [`BaseServer`], whose
    /// documentation has their order.
    ///
    /// The loop accepts as many requests as the [limits](crate::Limits) allow, and accepts no
    /// request while the server is [suspended](ServerHandle::suspend).
    ///
    /// The loop survives faults. It skips a connection that ended in the backlog. When descriptors
    /// or memory run out, the loop pauses until a request ends, for at most 10 ms at first and
    /// later for at most a second, and tries again. The loop logs a warning about such pauses at
    /// most once a minute. The error of a handler goes to
    /// [`handle_error`](BaseServer::handle_error).
    ///
    /// # Errors
    ///
    /// * [`Error::AlreadyServing`] if the loop runs already, in another thread or in this one (a
    ///   handler of a server without a mix-in).
    /// * [`Error::GetRequest`] if the socket does not work any more: another part of the program
    ///   has shut it down, or has closed or replaced its descriptor. The close of a descriptor does
    ///   not end a poll(2) that waits for it. So the loop notices the close only at the next client
    ///   or [`wake`](crate::layer::LayerHandle::wake).
    ///
    /// # Panics
    ///
    /// If `service_actions` of a layer panics, or if `is_ready` panics when the loop calls it a
    /// second time before a pause. The loop logs and survives a panic in any other hook.
    pub fn serve_forever(&self) -> Result<(), Error> {
        self.run_until_stopped()
    }

    /// Serves one request. Waits for the request at most until the [timeout](Self::set_timeout),
    /// and then calls [`handle_timeout`](BaseServer::handle_timeout) instead. Python's
    /// `handle_request`.
    ///
    /// This method is for a program with a loop of its own. Under a mix-in the handler may still
    /// run when this method returns. A [`shutdown`](Self::shutdown) ends the wait. A request that
    /// is refused, or whose handler fails, counts as the one request.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`serve_forever`](Self::serve_forever).
    ///
    /// # Panics
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn handle_request(&self) -> Result<(), Error> {
        let timeout = self.shared().settings().timeout();
        let timeout = timeout.or_else(|| self.top.timeout());
        self.run_one_request(Deadline::after(timeout))
    }

    /// Serves a request that the server has not accepted itself: steps 2 to 7 of a
    /// [request's life](BaseServer). A server that inetd starts calls this method, and so does a
    /// worker with an accept loop of its own.
    ///
    /// The request is verified, bounded by the limits, counted and drained as any other, and served
    /// where the mix-in serves it. As [`handle_request`](Self::handle_request), this is one pass of
    /// the loop: at a limit, or while a layer is not ready, the call waits, at most until a stop
    /// request. Under a mix-in the handler may still run when this method returns.
    ///
    /// [`accepted`](Self::accepted) makes the request of a connection. A server that accepts no
    /// connections itself needs no socket: see
    /// [`TcpServer::without_listener`](crate::TcpServer::without_listener). In Python a program
    /// calls `process_request` itself.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyServing`] if the loop runs in another thread, or in this one. The request is
    /// dropped then, which closes its connection, and counts as failed.
    ///
    /// # Panics
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn serve(&self, request: S::Request) -> Result<(), Error> {
        self.run_accepted(request)
    }

    /// One pass of the loop, without its waits.
    fn pass(&self) -> Pass<'_, S> {
        Pass::new(&self.top)
    }

    /// Stops [`serve_forever`](Self::serve_forever), and waits until it has returned, except in the
    /// loop's own thread. See [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.top.layer_handle().server().shutdown();
    }

    /// Closes the server, and reports how many of the running requests ended in which way. Python's
    /// `server_close`.
    ///
    /// The server closes the socket first, and removes a Unix socket's file. Then a mix-in waits
    /// for the requests that still run, if its `block_on_close` is set, which is the default. In
    /// idle requests [`wait`](crate::StreamRequest::wait) returns false at once. The other requests
    /// end by themselves, or are aborted at the [drain timeout](Self::set_drain_timeout). Finally
    /// the server waits, with every mix-in and within the same timeout, for the connections that
    /// [linger](crate::Lingering).
    #[allow(clippy::must_use_candidate)]
    pub fn server_close(mut self) -> DrainReport {
        self.close();
        self.shared().drain_report()
    }

    fn close(&mut self) {
        self.bound_socket.take();
        if self.socket.take().is_some() {
            self.shared().begin_close();
            self.top.server_close();
            self.shared().wait_for_lingering();
            log_held_back(self.top.layer_handle().server());
        }
    }

    /// Returns the handle of the server, which other threads may keep to stop the server, to change
    /// its settings, or to read its address and statistics.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.top.layer_handle().server().clone()
    }

    /// Returns the address that the server listens on, with the real port; before bind(2), the
    /// requested address. If the server has several addresses, this is the first. Python's
    /// `server_address`.
    #[must_use]
    pub fn server_address(&self) -> Address {
        self.top.layer_handle().server().server_address()
    }

    /// Returns every address that the server listens on. See [`ServerHandle::server_addresses`].
    #[must_use]
    pub fn server_addresses(&self) -> Vec<Address> {
        self.top.layer_handle().server().server_addresses()
    }

    /// Returns the IP address and port that the server listens on; `None` for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self.server_address() {
            Address::Inet(address) => Some(address),
            _ => None,
        }
    }

    /// Returns the outermost layer, for its own methods, such as
    /// [`child_pids`](crate::ForkingMixIn::child_pids).
    #[must_use]
    pub fn stack(&self) -> &S {
        &self.top
    }

    /// Sets how long [`handle_request`](Self::handle_request) waits for a request. With `None`, the
    /// default, the layers decide: [`ForkingMixIn`](crate::ForkingMixIn) waits 300 seconds, the
    /// others wait without end. `serve_forever` ignores the timeout.
    ///
    /// Python's `timeout`.
    #[doc(alias = "timeout")]
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.shared().settings().set_timeout(timeout);
    }

    /// Sets the longest time between two calls of [`service_actions`](BaseServer::service_actions)
    /// while the loop is idle. See [`ServerHandle::set_service_interval`].
    ///
    /// Python's `poll_interval`, as far as `service_actions` depends on it.
    #[doc(alias = "poll_interval")]
    pub fn set_service_interval(&self, interval: Option<Duration>) {
        self.top
            .layer_handle()
            .server()
            .set_service_interval(interval);
    }

    /// Sets how long [`server_close`](Self::server_close), and a [`shutdown`](Self::shutdown) of a
    /// server without a mix-in, wait for running requests before they abort them; 30 seconds unless
    /// set. `None` means without end, as in Python. See [`ServerHandle::set_drain_timeout`].
    pub fn set_drain_timeout(&self, timeout: Option<Duration>) {
        self.top.layer_handle().server().set_drain_timeout(timeout);
    }
}

/// The listening socket, which a program may wait for, or set options on. Python's `fileno`.
///
/// A server that is bound to several addresses returns a descriptor of epoll(7) instead. This
/// descriptor is readable when one of the sockets is, and has no socket options.
impl<S: BaseServer> AsFd for Server<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bound_socket
            .get()
            .or(self.socket.as_ref())
            .expect("it is open as long as the server can be borrowed")
            .as_fd()
    }
}

impl<S: BaseServer> Drop for Server<S> {
    fn drop(&mut self) {
        let waiting_would_hide_the_panic = std::thread::panicking();
        if waiting_would_hide_the_panic {
            self.set_drain_timeout(Some(Duration::ZERO));
        }
        self.close();
    }
}

impl<S: BaseServer> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.shared().settings();
        f.debug_struct("Server")
            .field("server_address", &self.server_address())
            .field("timeout", &settings.timeout())
            .field("service_interval", &settings.service_interval())
            .field("drain_timeout", &settings.drain_timeout())
            .finish_non_exhaustive()
    }
}

/// The methods of every stack of layers that no layer overrides: they put a layer around the stack,
/// and make a [`Server`] of it.
///
/// Every [`BaseServer`] implements this trait. `use socketserver::Serve` brings the methods into
/// scope.
pub trait Serve: BaseServer {
    /// Puts a layer around this layer. `layer` is the constructor of a mix-in, or a closure. In
    /// Python, a class lists the mix-in as a base class.
    ///
    /// ```
    /// use socketserver::{Serve, TcpServer, ThreadingMixIn};
    /// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
    /// # struct Nothing;
    /// # impl RequestHandler for Nothing {
    /// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
    /// # }
    ///
    /// let server = TcpServer::new("127.0.0.1:0", || Nothing)
    ///     .request_queue_size(16)
    ///     .mix_in(ThreadingMixIn::new)
    ///     .daemon_threads(true)
    ///     .bind()?;
    /// # Ok::<(), socketserver::Error>(())
    /// ```
    fn mix_in<M>(self, layer: impl FnOnce(Self) -> M) -> M {
        layer(self)
    }

    /// Makes the server of these layers, bound and listening: Python's constructor.
    ///
    /// # Errors
    ///
    /// If the address is not valid, is in use, or is not permitted, or if a layer cannot be
    /// activated. After an error nothing is left open.
    fn bind(self) -> Result<Server<Self>, Error> {
        let server = self.into_server()?;
        server.server_bind()?;
        server.server_activate()?;
        Ok(server)
    }

    /// Makes the server of these layers with a socket that is not bound yet, to set options that
    /// have no method here: Python's constructor with `bind_and_activate=False`.
    ///
    /// The caller then calls [`Server::server_bind`] and [`Server::server_activate`].
    ///
    /// # Errors
    ///
    /// If the address is not valid, or the operating system has no socket for it.
    #[doc(alias = "bind_and_activate")]
    fn into_server(self) -> Result<Server<Self>, Error> {
        Server::new(self)
    }

    /// Carries out steps 4 to 7 of a [request's life](BaseServer). Prepares the request, makes and
    /// runs the handler, passes errors and panics to [`handle_error`](BaseServer::handle_error),
    /// and shuts the request down. Returns whether the handler succeeded.
    ///
    /// If the server has been closed and its [drain timeout](Server::set_drain_timeout) is over,
    /// the request is aborted without a handler.
    ///
    /// A mix-in of your own calls this method on `top`, in its
    /// [`process_request`](BaseServer::process_request) and in the thread that serves the request.
    /// Python's `process_request_thread`.
    fn process_request_thread(self: &Arc<Self>, request: Self::Request) -> bool {
        process_request_thread(self, request)
    }
}

impl<S: BaseServer> Serve for S {}
