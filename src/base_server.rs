//! The hooks of a server: every step between the loop and the handler.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::requests::request::Request;
use crate::running::active_request::ActiveRequest;
use crate::running::server_handle::ServerHandle;
use crate::server::Server;
use crate::support::log::{Level, log};
use crate::values::address::Address;
use crate::values::deadlines::DeadlineExceeded;
use crate::values::error::{Error, HandlerError, HandlerResult, catch_panic};
use crate::values::request_event::RequestEvent;

/// A server as its steps, each of which a layer may change: Python's `BaseServer`.
///
/// The bottom layers ([`TcpServer`](crate::TcpServer) and its siblings) implement it; a mix-in
/// implements [`MixIn`](crate::MixIn) instead, and gets every hook that it does not change from the
/// layer below. A user meets this trait for [`mix_in`](Self::mix_in) and [`bind`](Self::bind).
///
/// # The life of a request
///
/// In this order, called by the loop of [`Server`]:
///
/// 1. [`get_request`](Self::get_request) accepts a connection or receives a datagram, when the
///    layers are [`accepting`](Self::accepting) and the [limits](crate::Limits) allow one more.
/// 2. [`verify_request`](Self::verify_request) may refuse it, as a limit may before; go to 6.
/// 3. [`process_request`](Self::process_request) decides who goes on with it: this thread, another
///    one, a child process.
/// 4. [`finish_request`](Self::finish_request) makes a handler and runs it.
/// 5. [`handle_error`](Self::handle_error) is told if that failed.
/// 6. [`shutdown_request`](Self::shutdown_request) ends the conversation and calls
///    [`close_request`](Self::close_request), which lets the connection go.
///
/// [`observe`](Self::observe) is told of each step.
///
/// # Who is `self`
///
/// In Python `self` is the whole object, so a call from the base class reaches the override in the
/// derived class. Here `self` is one layer. A hook that calls other hooks therefore takes the
/// outermost layer as `top` and calls them on it: an override is seen from every layer.
///
/// # Methods for the caller
///
/// [`mix_in`](Self::mix_in), [`bind`](Self::bind), [`unbound`](Self::unbound); the rest of Python's
/// are on [`Server`].
///
/// # Methods that may be overridden
///
/// All others but [`process_request_thread`](Self::process_request_thread), and but
/// [`handle`](Self::handle) and [`socket`](Self::socket), which are the bottom layer's.
pub trait BaseServer: Sized + Send + Sync + 'static {
    /// What is served: a [`StreamRequest`](crate::StreamRequest) or a
    /// [`DatagramRequest`](crate::DatagramRequest).
    type Request: Request;

    /// Puts a layer around this one: the constructor of a mix-in, or a closure.
    ///
    /// ```
    /// use socketserver::{BaseServer, TcpServer, ThreadingMixIn};
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
    /// If the address means nothing, is taken, or may not be used; nothing is left open then.
    fn bind(self) -> Result<Server<Self>, Error> {
        let server = self.unbound()?;
        server.server_bind()?;
        server.server_activate()?;
        Ok(server)
    }

    /// Makes the server of these layers with a socket that is not bound yet, to set options on it
    /// that there is no method for: Python's constructor with `bind_and_activate=False`.
    ///
    /// [`Server::server_bind`] and [`Server::server_activate`] come next.
    ///
    /// # Errors
    ///
    /// If the address means nothing, or the operating system gives no socket.
    #[doc(alias = "bind_and_activate")]
    fn unbound(self) -> Result<Server<Self>, Error> {
        Server::new(self)
    }

    /// What the layers, the handlers and other threads share of this server.
    fn handle(&self) -> &ServerHandle;

    /// The listening socket, which the first call creates; its being readable means a request.
    ///
    /// # Errors
    ///
    /// If it cannot be created, or has been closed.
    fn socket(&self) -> Result<Arc<OwnedFd>, Error>;

    /// Binds the socket to the address, and makes the real address known.
    ///
    /// # Errors
    ///
    /// If the address cannot be had.
    fn server_bind(&self) -> Result<(), Error>;

    /// Gets ready to serve: a stream server listens, a pool starts its workers.
    ///
    /// # Errors
    ///
    /// If that fails.
    fn server_activate(&self) -> Result<(), Error>;

    /// Whether the loop may get another request now. While it may not, the kernel's queue holds
    /// what comes.
    ///
    /// A layer that has said no calls [`ServerHandle::look_again`] when it would say yes. Python has
    /// no such hook: its servers accept without bound, or block.
    fn accepting(&self) -> bool {
        true
    }

    /// Gets the next request, without waiting for one.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none. What the loop makes of other
    /// errors is told at [`Server::serve_forever`].
    fn get_request(&self) -> io::Result<Self::Request>;

    /// Whether to serve this request; true unless overridden. It runs in the loop's thread.
    ///
    /// A request that is refused is closed, with [`shutdown_request`](Self::shutdown_request).
    fn verify_request(&self, request: &Self::Request) -> bool {
        let _ = request;
        true
    }

    /// Serves the request, here and now; mix-ins override it to do so elsewhere.
    ///
    /// It never fails: whatever it cannot do ends in [`handle_error`](Self::handle_error) and
    /// [`shutdown_request`](Self::shutdown_request) of `top`.
    fn process_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        top.process_request_thread(request);
    }

    /// Steps 4 to 6 of a request's life, whatever happens in them: errors and panics go to
    /// [`handle_error`](Self::handle_error), and the request is shut down. True if the handler
    /// succeeded. A request that has not begun when the server is closed and its [drain
    /// timeout](Server::set_drain_timeout) is over is shut down without a handler, as cut off.
    ///
    /// For the [`process_request`](Self::process_request) of a mix-in of one's own, which calls it
    /// on `top`, in the thread it likes. Not to be overridden.
    fn process_request_thread(self: &Arc<Self>, mut request: Self::Request) -> bool {
        if !self.handle().is_forked_child() {
            if self.handle().active().is_too_late() {
                request.active().give_up();
                shut_down(self, request);
                return false;
            }
            // In a child the parent has told it.
            observe_started(&**self, request.active());
        }
        let finished = catch_panic(|| self.finish_request(&mut request));
        request.active().note_result(finished.as_ref().copied());
        let succeeded = finished.is_ok();
        if let Err(error) = finished {
            report_error(&**self, &mut request, &error);
        }
        shut_down(self, request);
        succeeded
    }

    /// Makes a handler for the request and runs it.
    ///
    /// # Errors
    ///
    /// The handler's.
    fn finish_request(&self, request: &mut Self::Request) -> HandlerResult;

    /// Is told of an error, or panic, in a handler or hook, in the thread or process where it
    /// happened. Logs it, with the client's address, unless overridden: as a warning if the client
    /// has missed a [deadline](crate::Deadlines), else as an error.
    ///
    /// The request is still open: an override may tell the client.
    fn handle_error(&self, request: &mut Self::Request, error: &HandlerError) {
        let client = request.client_address();
        let level = match DeadlineExceeded::behind(&**error) {
            // What clients do is no fault of the server's.
            Some(_) => Level::Warn,
            None => Level::Error,
        };
        log(level, format_args!("{client}: {}", with_causes(error)));
    }

    /// Ends the conversation in good order, then calls [`close_request`](Self::close_request) of
    /// `top`.
    fn shutdown_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        top.close_request(request);
    }

    /// Lets the request go. In a forking server the parent calls it alone, since the child has the
    /// connection.
    fn close_request(&self, request: Self::Request) {
        drop(request);
    }

    /// Runs in a child that [`ForkingMixIn`](crate::ForkingMixIn) has forked, before the request is
    /// finished there: a layer lets go what only the parent should have. Python has no such hook.
    fn after_fork_in_child(&self) {}

    /// Is told that [`Server::handle_request`] has waited for [`timeout`](Self::timeout) in vain.
    fn handle_timeout(&self) {}

    /// How long [`Server::handle_request`] waits, unless the server says otherwise; `None`, the
    /// default, is without end.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Is told of each step in a request's life, whichever layer takes it: for counting, measuring
    /// and tracing. Does nothing unless overridden.
    ///
    /// It runs where the step happens: `Accepted` and `Refused` in the loop's thread, `Started` and
    /// `Ended` in the one that serves the request, and with [`ForkingMixIn`](crate::ForkingMixIn) all
    /// of them in the parent. So it should be quick, and wait for nothing. A panic in it is logged and
    /// changes nothing. Python has no such hook.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use socketserver::{Address, BaseServer, MixIn, RequestEvent};
    ///
    /// /// Adds up the time that requests wait before they are served.
    /// struct WaitingTime<S> {
    ///     next: S,
    ///     microseconds: AtomicU64,
    /// }
    ///
    /// impl<S: BaseServer> MixIn for WaitingTime<S> {
    ///     type Next = S;
    ///     fn next(&self) -> &S {
    ///         &self.next
    ///     }
    ///     fn observe(&self, client: &Address, event: &RequestEvent) {
    ///         if let RequestEvent::Started { accepted } = event {
    ///             let waited = accepted.elapsed().as_micros() as u64;
    ///             self.microseconds.fetch_add(waited, Ordering::Relaxed);
    ///         }
    ///         self.next.observe(client, event);
    ///     }
    /// }
    /// ```
    fn observe(&self, client: &Address, event: &RequestEvent) {
        let _ = (client, event);
    }

    /// Runs once per pass of the loop: after every request, whenever the loop wakes up, and when it
    /// ends.
    ///
    /// [`Server::set_service_interval`] makes it wake up now and then without a request.
    fn service_actions(&self) {}

    /// Closes the socket, and waits for what still runs where the layer handed it on. Called once,
    /// by [`Server::server_close`].
    fn server_close(&self);
}

/// Calls `handle_error`, whose own panic must not end the loop or a worker.
pub(crate) fn report_error<T: BaseServer>(top: &T, request: &mut T::Request, error: &HandlerError) {
    let reported = catch_panic(|| {
        top.handle_error(request, error);
        Ok(())
    });
    if let Err(panic) = reported {
        let client = request.client_address();
        log(
            Level::Error,
            format_args!(
                "{client}: {}; handle_error, told of it, {panic}",
                with_causes(error)
            ),
        );
    }
}

/// Calls `observe`, whose panic must not end what it observes; and writes it down.
pub(crate) fn observe<T: BaseServer>(top: &T, client: &Address, event: &RequestEvent) {
    log_event(client, event);
    survive(client, "observe", || top.observe(client, event));
}

fn log_event(client: &Address, event: &RequestEvent) {
    match event {
        RequestEvent::Accepted => log(Level::Debug, format_args!("{client}: accepted")),
        RequestEvent::Refused(why) => log(Level::Info, format_args!("{client}: refused: {why}")),
        RequestEvent::Started { .. } => {}
        RequestEvent::Ended {
            outcome,
            accepted,
            received,
            sent,
        } => {
            let lasted = ElapsedSince(*accepted);
            let line = format_args!(
                "{client}: {outcome} after {lasted}, {received} bytes received, {sent} sent"
            );
            log(Level::Debug, line);
        }
    }
}

/// Reads the clock only when it is written down.
struct ElapsedSince(Instant);

impl fmt::Display for ElapsedSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.elapsed())
    }
}

/// Tells the layers that a handler is about to be made.
pub(crate) fn observe_started<T: BaseServer>(top: &T, request: &ActiveRequest) {
    let accepted = request.accepted();
    observe(
        top,
        request.client_address(),
        &RequestEvent::Started { accepted },
    );
}

/// Calls `shutdown_request`, whose own panic must not end the loop or a worker.
pub(crate) fn shut_down<T: BaseServer>(top: &Arc<T>, request: T::Request) {
    let client = request.client_address().clone();
    survive(&client, "shutdown_request", || {
        top.shutdown_request(top, request);
    });
}

/// Calls a hook whose panic is logged, with the address that it was about, and ends nothing else.
pub(crate) fn survive(about: &Address, hook: &str, call: impl FnOnce()) {
    let called = catch_panic(|| {
        call();
        Ok(())
    });
    if let Err(panic) = called {
        log(Level::Error, format_args!("{about}: {hook} {panic}"));
    }
}

/// An error and what caused it, in one line.
fn with_causes(error: &HandlerError) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many errors repeat their cause in their own text.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}
