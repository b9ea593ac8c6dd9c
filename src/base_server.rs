//! The hooks of a server: every step between the loop and the handler.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::requests::request::Request;
use crate::running::events::Events;
use crate::running::layer_handle::LayerHandle;
use crate::support::log::{Level, log_line};
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::deadlines::DeadlineExceeded;
use crate::values::error::{Error, HandlerError, HandlerResult, catch_panic, run_step};
use crate::values::request_event::{Refusal, RequestEvent};

/// A server as its steps, each of which a layer may change: Python's `BaseServer`.
///
/// The bottom layers ([`TcpServer`](crate::TcpServer) and its siblings) implement it. A mix-in
/// implements [`MixIn`](crate::MixIn) instead, and inherits every hook that it does not change from
/// its inner layer.
///
/// # The life of a request
///
/// The loop of [`Server`](crate::Server) calls the hooks in this order, on the outermost layer:
///
/// 1. [`get_request`](Self::get_request) accepts a connection or receives a datagram, when every
///    layer [is ready](Self::is_ready) and the [limits](crate::Limits) allow one more.
/// 2. [`verify_request`](Self::verify_request) may refuse it, as a limit may before; then 7 is
///    next.
/// 3. [`process_request`](Self::process_request) decides who goes on with it: this thread, another
///    one, a child process.
/// 4. [`prepare_request`](Self::prepare_request) reads a preamble or agrees on encryption, in the
///    thread that serves the request. It may refuse too.
/// 5. [`finish_request`](Self::finish_request) makes a handler and runs it.
/// 6. [`handle_error`](Self::handle_error) receives the error if that failed.
/// 7. [`shutdown_request`](Self::shutdown_request) ends the conversation and calls
///    [`close_request`](Self::close_request), which closes the connection.
///
/// [`observe`](Self::observe) receives an event at each step.
///
/// # Who is `self`
///
/// In Python `self` is the whole object, so a call from the base class reaches the override in the
/// derived class. Here `self` is one layer. A hook that calls other hooks therefore takes the
/// outermost layer as `top`, and calls them on `top`: every layer sees an override, wherever it is.
///
/// # Methods for the caller
///
/// [`Serve`](crate::Serve) has `mix_in`, `bind` and `into_server`, which every layer inherits and
/// none overrides; [`Server`](crate::Server) has the rest.
///
/// # Methods that a bottom layer provides
///
/// * [`layer_handle`](Self::layer_handle), [`socket`](Self::socket)
/// * [`server_bind`](Self::server_bind), [`server_activate`](Self::server_activate),
///   [`server_close`](Self::server_close)
/// * [`get_request`](Self::get_request), [`finish_request`](Self::finish_request)
///
/// # Methods that any layer may override
///
/// * of the server: [`server_bind`](Self::server_bind), [`server_activate`](Self::server_activate),
///   [`is_ready`](Self::is_ready), [`timeout`](Self::timeout),
///   [`handle_timeout`](Self::handle_timeout), [`service_actions`](Self::service_actions),
///   [`after_fork_in_child`](Self::after_fork_in_child), [`server_close`](Self::server_close)
/// * of a request: all that are numbered above, and [`observe`](Self::observe)
pub trait BaseServer: Sized + Send + Sync + 'static {
    /// What is served: a [`StreamRequest`](crate::StreamRequest) or a
    /// [`DatagramRequest`](crate::DatagramRequest).
    type Request: Request;

    /// What the layers, the handlers and other threads share of this server.
    fn layer_handle(&self) -> &LayerHandle;

    /// The listening socket, which the first call creates. The loop waits until it is readable.
    ///
    /// # Errors
    ///
    /// If it cannot be created, or has been closed.
    fn socket(&self) -> Result<Arc<OwnedFd>, Error>;

    /// Binds the socket to the address, and sets the real address in the
    /// [handle](LayerHandle::set_server_address).
    ///
    /// # Errors
    ///
    /// If the address is not available.
    fn server_bind(&self) -> Result<(), Error>;

    /// Gets ready to serve: a stream server listens, a pool starts its workers.
    ///
    /// # Errors
    ///
    /// If that fails.
    fn server_activate(&self) -> Result<(), Error>;

    /// Whether this layer could serve another request now. While one layer could not, the loop
    /// accepts none, and the kernel's queue holds what comes.
    ///
    /// It only looks: a layer that has to act to become ready acts in
    /// [`service_actions`](Self::service_actions), which the loop calls before it pauses. A layer
    /// that was not ready calls [`wake`](LayerHandle::wake) when it is. Python has no such hook:
    /// its servers accept without bound, or block.
    fn is_ready(&self) -> bool {
        true
    }

    /// Gets the next request, without waiting for one.
    ///
    /// It runs in the loop's thread, so it must not wait for the client, not even for the first
    /// byte of a connection that it has accepted: a silent client would stop everybody. Bytes are
    /// read, and handshakes made, in [`prepare_request`](Self::prepare_request).
    ///
    /// # Errors
    ///
    /// [`GetRequestError`] has a variant for each way in which the loop goes on.
    fn get_request(&self) -> Result<Self::Request, GetRequestError>;

    /// Whether to serve this request; true unless overridden. It runs in the loop's thread, and
    /// must not wait.
    ///
    /// A request that is refused is closed, with [`shutdown_request`](Self::shutdown_request).
    fn verify_request(&self, request: &Self::Request) -> bool {
        let _ = request;
        true
    }

    /// Serves the request, here and now; mix-ins override it to do so elsewhere. It runs in the
    /// loop's thread.
    ///
    /// It never fails: whatever it cannot do ends in [`handle_error`](Self::handle_error) and
    /// [`shutdown_request`](Self::shutdown_request) of `top`.
    fn process_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        process_request_thread(top, request);
    }

    /// Prepares the request before its handler is made: reads a preamble, agrees on encryption.
    /// Returns [`Ready`](Preparation::Ready) unless overridden.
    ///
    /// It runs in the thread or process that serves the request, so a client that is slow with its
    /// preamble holds up nobody else under a mix-in. The time of all calls together is bounded by
    /// the [prepare deadline](crate::Deadlines::prepare).
    ///
    /// A layer that needs bytes takes what has come with
    /// [`receive_now`](crate::StreamRequest::receive_now), which does not wait. If that is not
    /// enough, the layer returns [`NeedsMore`](Preparation::NeedsMore), and this hook is called
    /// again when there is more. A layer that is done remembers that in the request's
    /// [extensions](Request::extensions), since an inner layer may need further calls. At the end
    /// it returns what its inner layer's hook returns. So of two layers the outer one prepares the
    /// request first.
    ///
    /// A layer may replace the stream ([`map_stream`](crate::StreamRequest::map_stream)) and
    /// correct the client's address
    /// ([`set_client_address`](crate::StreamRequest::set_client_address)), after which the server
    /// asks its limits again. Python has no such hook.
    ///
    /// # Errors
    ///
    /// Any; it reaches [`handle_error`](Self::handle_error), and no handler runs.
    fn prepare_request(&self, request: &mut Self::Request) -> Result<Preparation, HandlerError> {
        let _ = request;
        Ok(Preparation::Ready)
    }

    /// Makes a handler for the request and runs it.
    ///
    /// # Errors
    ///
    /// The handler's.
    fn finish_request(&self, request: &mut Self::Request) -> HandlerResult;

    /// Receives an error, or a panic, of a handler or hook, in the thread or process where it
    /// happened. Logs it, with the client's address, unless overridden: as a warning if the client
    /// has missed a [deadline](crate::Deadlines), else as an error.
    ///
    /// The request is still open: an override may send the client a message.
    fn handle_error(&self, request: &mut Self::Request, error: &HandlerError) {
        let client = request.client_address();
        let level = match DeadlineExceeded::find_in(&**error) {
            // What clients do is no fault of the server's.
            Some(_) => Level::Warn,
            None => Level::Error,
        };
        log_line!(level, "{client}: {}", WithCauses(error));
    }

    /// Ends the conversation in good order, then calls [`close_request`](Self::close_request) of
    /// `top`.
    fn shutdown_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        top.close_request(top, request);
    }

    /// Closes the request, which then counts as ended, and emits the event of its end to `top`. In
    /// a forking server the parent calls it alone, since the child has the connection.
    fn close_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        let guard = request.into_guard();
        guard.end(|client, event| guarded(top).observe(client, event));
    }

    /// Runs in a child that [`ForkingMixIn`](crate::ForkingMixIn) has forked, before the request is
    /// prepared there: a layer closes what only the parent should have. Python has no such hook.
    fn after_fork_in_child(&self) {}

    /// Runs when [`Server::handle_request`](crate::Server::handle_request) has waited for
    /// [`timeout`](Self::timeout), and no request has come.
    fn handle_timeout(&self) {}

    /// How long [`Server::handle_request`](crate::Server::handle_request) waits, if the server has
    /// no timeout of its own; `None`, the default, is without end.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Receives each step in a request's life, whichever layer takes it: for counting, measuring
    /// and tracing. Does nothing unless overridden.
    ///
    /// It runs where the step happens: for `Accepted` in the loop's thread, for `Refused` there or
    /// in the thread that prepares the request, for `Started` and `Ended` in the thread that serves
    /// the request, and with [`ForkingMixIn`](crate::ForkingMixIn) always in the parent. So it
    /// should be quick, and wait for nothing. A panic in it is logged and changes nothing. Python
    /// has no such hook.
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
    ///         if let RequestEvent::Started { accepted, .. } = event {
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

    /// Runs once per pass of the loop: after every request, whenever the loop wakes up, before it
    /// pauses because a layer is not [ready](Self::is_ready) or a limit is reached, and when it
    /// ends.
    ///
    /// [`Server::set_service_interval`](crate::Server::set_service_interval) makes the loop wake up
    /// now and then without a request.
    fn service_actions(&self) {}

    /// Closes the socket, and waits for what still runs where the layer handed it on. Called once,
    /// by [`Server::server_close`](crate::Server::server_close).
    fn server_close(&self);
}

/// What [`prepare_request`](BaseServer::prepare_request) has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preparation {
    /// The request is prepared, and its handler may run.
    Ready,
    /// The client has not sent enough. The hook is called again when more has come: other requests
    /// are served meanwhile, as far as the mix-in can.
    NeedsMore,
    /// The request is closed, and no handler runs. A layer that wants to explain that to the client
    /// writes to the request first.
    Refused,
}

/// Steps 4 to 7 of a request's life, whatever happens in them. Returns whether the handler
/// succeeded.
///
/// [`Serve::process_request_thread`](crate::Serve::process_request_thread) is the same for the
/// layers of others.
pub(crate) fn process_request_thread<T: BaseServer>(top: &Arc<T>, mut request: T::Request) -> bool {
    let shared = top.layer_handle().shared();
    if !shared.is_forked_child() {
        if shared.lifecycle().is_overdue() {
            request.guard_mut().abort();
            guarded(top).shutdown_request(request);
            return false;
        }
        // For a child the parent has emitted it.
        guarded(top).observe_start(&request);
    }
    let finished = match prepare(top, &mut request) {
        Ok(Prepared::ToServe) => run_step(|| top.finish_request(&mut request)),
        Ok(Prepared::ToClose) => {
            guarded(top).shutdown_request(request);
            return false;
        }
        Err(error) => Err(error),
    };
    request.guard_mut().note_result(finished.as_ref().copied());
    let succeeded = finished.is_ok();
    if let Err(error) = finished {
        guarded(top).handle_error(&mut request, &error);
    }
    guarded(top).shutdown_request(request);
    succeeded
}

/// What follows the preparation of a request.
enum Prepared {
    ToServe,
    /// The request was refused, or the server stops.
    ToClose,
}

/// Step 4: calls `prepare_request` until every layer is done.
fn prepare<T: BaseServer>(
    top: &Arc<T>,
    request: &mut T::Request,
) -> Result<Prepared, HandlerError> {
    request.begin_preparation();
    loop {
        match run_step(|| top.prepare_request(request))? {
            Preparation::Ready => break,
            Preparation::Refused => {
                request.guard_mut().refuse(Refusal::NotPrepared);
                return Ok(Prepared::ToClose);
            }
            Preparation::NeedsMore => {
                if !request.wait_for_more()? {
                    request.guard_mut().abort();
                    return Ok(Prepared::ToClose);
                }
            }
        }
    }
    request.end_preparation();
    if request.guard().is_corrected()
        && let Some(why) = request.guard().limit_per_address_exceeded()
    {
        let message = top.layer_handle().shared().settings().refusal();
        guarded(top).refuse(request, &message);
        request.guard_mut().refuse(why);
        return Ok(Prepared::ToClose);
    }
    Ok(Prepared::ToServe)
}

/// The hooks of the outermost layer, for a caller that a panic in them must not end.
pub(crate) fn guarded<T: BaseServer>(top: &Arc<T>) -> Guarded<'_, T> {
    Guarded(top)
}

/// See [`guarded`]. Each method is the hook of its name; a panic in the hook is logged.
pub(crate) struct Guarded<'a, T>(&'a Arc<T>);

impl<T: BaseServer> Guarded<'_, T> {
    pub(crate) fn process_request(&self, request: T::Request) {
        let client = request.client_address().clone();
        // The hook takes the request out. If it panics, unwinding drops the request, which closes
        // the connection. In the closure itself, the request would be moved twice more.
        let mut slot = Some(request);
        survive(&client, "process_request", || {
            slot.take()
                .map(|request| self.0.process_request(self.0, request));
        });
    }

    pub(crate) fn handle_error(&self, request: &mut T::Request, error: &HandlerError) {
        let handled = catch_panic(|| self.0.handle_error(request, error));
        if let Err(panic) = handled {
            let client = request.client_address();
            log_line!(
                Level::Error,
                "{client}: {}; handle_error, called with this error, {panic}",
                WithCauses(error)
            );
        }
    }

    pub(crate) fn shutdown_request(&self, request: T::Request) {
        let client = request.client_address().clone();
        let mut slot = Some(request);
        survive(&client, "shutdown_request", || {
            slot.take()
                .map(|request| self.0.shutdown_request(self.0, request));
        });
    }

    /// Sends the message of a limit, through layers that may panic.
    pub(crate) fn refuse(&self, request: &mut T::Request, message: &[u8]) {
        if let Err(panic) = catch_panic(|| request.refuse(message)) {
            log_line!(Level::Error, "{}: refuse {panic}", request.client_address());
        }
    }

    pub(crate) fn handle_timeout(&self) {
        let server = self.0.layer_handle().server().server_address();
        survive(&server, "handle_timeout", || self.0.handle_timeout());
    }

    /// Logs the event, and emits it to the layers.
    pub(crate) fn observe(&self, client: &Address, event: &RequestEvent) {
        log_event(client, event);
        survive(client, "observe", || self.0.observe(client, event));
    }

    /// Emits that somebody begins with the request.
    pub(crate) fn observe_start(&self, request: &T::Request) {
        let accepted = request.guard().accepted();
        let started = RequestEvent::Started { accepted };
        self.observe(request.client_address(), &started);
    }
}

/// Calls a hook whose panic is logged, with the address that the call was about.
fn survive(about: &Address, hook: &str, call: impl FnOnce()) {
    if let Err(panic) = catch_panic(call) {
        log_line!(Level::Error, "{about}: {hook} {panic}");
    }
}

/// The layers of a server, for the events of a request that ends where the outermost layer is not
/// at hand. They own the server's handle, so the handle does not own them.
pub(crate) struct Layers<T>(Weak<T>);

impl<T: BaseServer> Layers<T> {
    pub(crate) fn new(top: &Arc<T>) -> Self {
        Self(Arc::downgrade(top))
    }
}

impl<T: BaseServer> Events for Layers<T> {
    fn emit(&self, client: &Address, event: &RequestEvent) {
        if let Some(top) = self.0.upgrade() {
            guarded(&top).observe(client, event);
        }
    }
}

fn log_event(client: &Address, event: &RequestEvent) {
    match event {
        RequestEvent::Accepted => log_line!(Level::Debug, "{client}: accepted"),
        RequestEvent::Refused(why) => log_line!(Level::Info, "{client}: refused: {why}"),
        RequestEvent::Started { .. } => {}
        RequestEvent::Ended {
            outcome,
            accepted,
            received,
            sent,
        } => {
            let lasted = ElapsedSince(*accepted);
            log_line!(
                Level::Debug,
                "{client}: {outcome} after {lasted}, {received} bytes received, {sent} sent"
            );
        }
    }
}

/// Reads the clock only when it is written to the log.
struct ElapsedSince(Instant);

impl fmt::Display for ElapsedSince {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.elapsed())
    }
}

/// An error and what caused it, in one line.
struct WithCauses<'a>(&'a HandlerError);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = self.0.to_string();
        f.write_str(&line)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Many errors repeat their cause in their own text.
            if !line.ends_with(&text) {
                write!(f, ": {text}")?;
                line = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}
