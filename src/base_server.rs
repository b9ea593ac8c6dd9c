//! The hooks of a server: the steps between the loop and the handler.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::requests::request::Request;
use crate::running::client_name::ClientName;
use crate::running::events::Events;
use crate::running::layer_handle::LayerHandle;
use crate::running::request_log::{log_event, log_recurring};
use crate::running::stoppers::Serves;
use crate::support::log::{Level, log_line};
use crate::transport::get_request_error::GetRequestError;
use crate::transport::poll::readable_now;
use crate::values::address::Address;
use crate::values::cause::is_end_of_connection;
use crate::values::deadlines::DeadlineExceeded;
use crate::values::error::{Error, HandlerError, HandlerResult, WithCauses, catch_panic, run_step};
use crate::values::request_event::{Refusal, RequestEvent};

/// The hooks of a server, which its layers define and override: Python's `BaseServer`.
///
/// The bottom layers ([`TcpServer`](crate::TcpServer) and its siblings) implement this trait. A
/// mix-in implements [`MixIn`](crate::MixIn) instead, and inherits every other hook from its inner
/// layer.
///
/// # The life of a request
///
/// The loop of [`Server`](crate::Server) calls the hooks in this order, on the outermost layer:
///
/// 1. [`get_request`](Self::get_request) accepts a connection or receives a datagram, if every
///    layer [is ready](Self::is_ready) and the [limits](crate::Limits) allow another request.
/// 2. [`verify_request`](Self::verify_request) may refuse the request. A limit may have refused it
///    before this step. A refused request goes straight to step 7.
/// 3. [`process_request`](Self::process_request) decides where the next steps run: in this thread,
///    another thread, or a child process.
/// 4. [`prepare_request`](Self::prepare_request) reads a preamble or agrees on encryption, in the
///    thread that serves the request. This hook may refuse the request too.
/// 5. [`finish_request`](Self::finish_request) makes a handler and runs it.
/// 6. [`handle_error`](Self::handle_error) receives the error if step 4 or 5 failed.
/// 7. [`shutdown_request`](Self::shutdown_request) ends the conversation and calls
///    [`close_request`](Self::close_request), which closes the connection.
///
/// Steps 1 to 3 run in the loop's thread. Under [`ReactorMixIn`](crate::ReactorMixIn), they may run
/// in a thread of the reactor instead, for one request at a time.
///
/// [`observe`](Self::observe) receives an event when a request is accepted, refused, started and
/// ended.
///
/// # Who is `self`
///
/// In Python `self` is the whole object, so a call from the base class reaches the override in the
/// derived class. Here `self` is one layer. A hook that calls other hooks therefore takes the
/// outermost layer as `top`, and calls the hooks on `top`, so that the overrides of all layers are
/// in force.
///
/// # Methods for the caller
///
/// The trait [`Serve`](crate::Serve) has `mix_in`, `bind` and `into_server`, which no layer
/// overrides. [`Server`](crate::Server) has the methods that start, stop and close the server.
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
/// * of a request: all hooks numbered above, and [`observe`](Self::observe)
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer of a server",
    note = "a bottom layer, such as `TcpServer<F>`, is complete if its factory `F` makes handlers \
            of its type of request",
    note = "a closure that serves a request becomes a handler with `handler_fn(|request| …)`",
    note = "a `Server<S>` is made of layers, and is not a layer: a function for any server takes \
            `Server<S>` where `S: BaseServer`"
)]
pub trait BaseServer: Sized + Send + Sync + 'static {
    /// The type of the requests: [`StreamRequest`](crate::StreamRequest),
    /// [`DatagramRequest`](crate::DatagramRequest), or a type of your own.
    type Request: Request;

    /// The handle that the bottom layer has made, and that all layers share.
    fn layer_handle(&self) -> &LayerHandle;

    /// Returns the listening socket, which the first call creates. The loop waits until the socket
    /// is readable. Python's `socket` attribute.
    ///
    /// [`server_bind`](Self::server_bind) may replace the socket. If only a later address of a host
    /// name could be bound, the new socket may be of another family. If the server has several
    /// addresses, the new descriptor is one of epoll(7), which is readable when one of the sockets
    /// is.
    ///
    /// # Errors
    ///
    /// If the socket cannot be created, or has been closed.
    fn socket(&self) -> Result<Arc<OwnedFd>, Error>;

    /// Binds the socket to the address, and stores the real address, with the port that the kernel
    /// has chosen, in the [handle](LayerHandle::set_server_address).
    ///
    /// # Errors
    ///
    /// If the address is not available.
    fn server_bind(&self) -> Result<(), Error>;

    /// Prepares to serve: a stream server calls listen(2), and a pool starts its workers.
    ///
    /// # Errors
    ///
    /// If listen(2) fails, or if a layer cannot start, because the system has no more threads for
    /// example.
    fn server_activate(&self) -> Result<(), Error>;

    /// Returns whether this layer can serve another request now; true unless overridden. While a
    /// layer returns false, the loop accepts no request, and clients wait in the backlog.
    ///
    /// This hook changes nothing. A layer that has to act to become ready acts in
    /// [`service_actions`](Self::service_actions), which the loop calls before it pauses. A layer
    /// that was not ready calls [`wake`](LayerHandle::wake) when it becomes ready. Python has no
    /// such hook: its servers accept without a bound, or block in `collect_children`.
    fn is_ready(&self) -> bool {
        true
    }

    /// Returns the next request, without waiting for one.
    ///
    /// This hook runs in the loop's thread, or in a reactor's thread that accepts in its place. The
    /// hook must not wait for a client, not even for the first byte of an accepted connection: a
    /// silent client would stop all others. [`prepare_request`](Self::prepare_request) is the hook
    /// that reads bytes and makes handshakes.
    ///
    /// A bottom layer may receive several requests at a time, and return one of them in each call.
    /// The loop does not wait for the socket before this hook has returned
    /// [`Empty`](GetRequestError::Empty). A mix-in may also take several requests from
    /// [`TcpServer`](crate::TcpServer) and return one. Such a mix-in calls
    /// [`wake`](LayerHandle::wake) while it keeps others. Otherwise a reactor calls this hook again
    /// only when the next client connects.
    ///
    /// # Errors
    ///
    /// [`GetRequestError`] has a variant for each reaction of the loop. An
    /// [`io::Error`](std::io::Error) that a layer has made itself, such as
    /// `io::Error::other("no agreement")`, is logged as an error, with its text. With `?` it
    /// becomes [`Exhausted`](GetRequestError::Exhausted), after which the loop pauses, because the
    /// layer may fail again at once. If the error concerns one client only, the layer returns
    /// [`Retry`](GetRequestError::Retry), after which the loop goes on without a pause.
    fn get_request(&self) -> Result<Self::Request, GetRequestError>;

    /// Returns whether to serve this request; true unless overridden. This hook runs in the loop's
    /// thread, or in a reactor's thread that accepts in its place, for one request at a time. The
    /// hook must not wait: an override that reads, flushes or fills the write buffer may delay all
    /// clients.
    ///
    /// An override may write the reason of a refusal to the request, as Python's may. After false,
    /// the loop sends what the override has written, as far as that is possible without waiting,
    /// and calls [`shutdown_request`](Self::shutdown_request).
    ///
    /// ```
    /// use std::io::Write;
    /// use socketserver::{BaseServer, MixIn, StreamRequest};
    ///
    /// /// Refuses every client, and explains why.
    /// struct Closed<S>(S);
    ///
    /// impl<S: BaseServer<Request = StreamRequest>> MixIn for Closed<S> {
    ///     type Next = S;
    ///     fn next(&self) -> &S {
    ///         &self.0
    ///     }
    ///     fn verify_request(&self, request: &mut StreamRequest) -> bool {
    ///         let _ = writeln!(request, "closed until Monday");
    ///         false
    ///     }
    /// }
    /// ```
    fn verify_request(&self, request: &mut Self::Request) -> bool {
        let _ = request;
        true
    }

    /// Serves the request, in the calling thread unless overridden: a mix-in serves it in another
    /// thread or process. This hook runs in the loop's thread, or in a reactor's thread that
    /// accepts in its place.
    ///
    /// An override that cannot serve the request, because the system has no more threads for
    /// example, calls [`handle_error`](Self::handle_error) and
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
    /// This hook runs in the thread or process that serves the request. So, under a mix-in, a
    /// client with a slow preamble delays no other client. The
    /// [prepare deadline](crate::Deadlines::prepare) bounds the time of all calls together.
    ///
    /// 1. A layer that needs bytes calls [`receive_now`](crate::StreamRequest::receive_now), which
    ///    does not wait.
    /// 2. If the bytes are not enough, the layer returns [`NeedsMore`](Preparation::NeedsMore). The
    ///    hook is called again when more bytes have arrived, or the client has ended its side.
    /// 3. When the layer is done, it notes that in the request's [extensions](Request::extensions),
    ///    since an inner layer may need further calls.
    /// 4. At the end the layer returns the result of its inner layer's hook. So of two layers the
    ///    outer layer prepares the request first.
    ///
    /// A layer may replace the stream ([`map_stream`](crate::StreamRequest::map_stream)). It may
    /// also correct the client's address
    /// ([`set_client_address`](crate::StreamRequest::set_client_address)); then the server checks
    /// the limit per address again. If the server begins to drain while the hook needs more bytes,
    /// the request is aborted. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// Any error; [`handle_error`](Self::handle_error) receives it, and no handler runs.
    fn prepare_request(&self, request: &mut Self::Request) -> Result<Preparation, HandlerError> {
        let _ = request;
        Ok(Preparation::Ready)
    }

    /// Makes a handler for the request, and runs it.
    ///
    /// # Errors
    ///
    /// Returns the errors of the handler.
    fn finish_request(&self, request: &mut Self::Request) -> HandlerResult;

    /// Receives the error or the panic of a handler or hook, in the thread or process where it
    /// happened. Unless overridden, this hook logs the error with the client's address. If the
    /// program has more than one server, the line has the server's address too. Python prints to
    /// standard error.
    ///
    /// The level of the line is error, with two exceptions:
    ///
    /// * If the client has missed a [deadline](crate::Deadlines), the level is warning.
    /// * If the client has left, that is no error of the server: the level is info in the middle of
    ///   an exchange, and debug otherwise. So a health check that connects and leaves causes no
    ///   line at level info.
    ///
    /// The client has left if the request has seen the end of its connection, and the error, or one
    /// of its causes, is the end of a connection (such as `ConnectionReset`, `BrokenPipe` or
    /// `UnexpectedEof`). If a connection to another peer ends, to a database for example, the level
    /// is error. The [statistics](crate::Statistics) count the request as failed in every case.
    ///
    /// Of errors whose texts differ in digits alone, ten a minute are logged at these levels, and
    /// the others at level debug. The next such line, or the line at the server's close, has the
    /// number of the others. So a flood of bad clients does not fill a disk. A forked child logs
    /// every error.
    ///
    /// The request is still open: an override may send the client a message.
    fn handle_error(&self, request: &mut Self::Request, error: &HandlerError) {
        let client = name_of(&*request);
        // A client that leaves or is late is not an error of the server.
        let level = match request.guard().client_left() {
            Some(in_exchange) if is_end_of_connection(&**error) => match in_exchange {
                true => Level::Info,
                false => Level::Debug,
            },
            _ if DeadlineExceeded::find_in(&**error).is_some() => Level::Warn,
            _ => Level::Error,
        };
        if level == Level::Debug {
            log_line!(level, "{client}: {}", WithCauses(&**error));
        } else {
            log_recurring(level, &client, &WithCauses(&**error));
        }
    }

    /// [Ends the conversation](Request::end_conversation), then calls
    /// [`close_request`](Self::close_request) of `top`. Python's `shutdown_request`.
    ///
    /// The end of the conversation sends what a handler has written and not flushed. So a bottom
    /// layer of your own needs no override, even if it runs its handlers without
    /// [`run_handler`](crate::layer::run_handler).
    fn shutdown_request<T>(&self, top: &Arc<T>, mut request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        request.end_conversation();
        top.close_request(top, request);
    }

    /// Closes the request, counts its end, and emits the event of its end to `top`.
    ///
    /// The parent of a forked child calls this hook without
    /// [`shutdown_request`](Self::shutdown_request), and so closes its copy of the request. In the
    /// parent, the end is counted and the event is emitted later, when the child has been
    /// collected.
    fn close_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        let guard = request.into_guard();
        guard.end(|client, event| guarded(top).observe(client, event));
    }

    /// Runs in a child that [`ForkingMixIn`](crate::ForkingMixIn) has forked, before step 4 of its
    /// request. An override closes the descriptors that only the parent should have. Python has no
    /// counterpart.
    fn after_fork_in_child(&self) {}

    /// Runs when [`Server::handle_request`](crate::Server::handle_request) has waited for its
    /// timeout without a request. Does nothing unless overridden.
    fn handle_timeout(&self) {}

    /// Returns how long [`Server::handle_request`](crate::Server::handle_request) waits for a
    /// request if [`Server::set_timeout`](crate::Server::set_timeout) is not used. `None`, the
    /// default, means without end.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// Receives the events of every request, for counting, measuring and tracing. Does nothing
    /// unless overridden.
    ///
    /// This hook runs where the event happens, so an override must be quick and must not wait.
    /// `Accepted` is emitted in the thread that accepts, and `Refused` in that thread or in the
    /// thread that prepares the request. `Started` is emitted in the thread that serves the
    /// request, and `Ended` in the thread that closes it. With
    /// [`ForkingMixIn`](crate::ForkingMixIn) all events are emitted in the parent. A panic in this
    /// hook is logged and has no other effect. Python has no counterpart.
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

    /// Runs in each pass of the loop: after every request, whenever the loop wakes, and when the
    /// loop ends. It also runs before each pause that the loop makes because a layer is not
    /// [ready](Self::is_ready) or a limit is reached. Does nothing unless overridden.
    ///
    /// [`Server::set_service_interval`](crate::Server::set_service_interval) bounds the time
    /// between two calls while the loop is idle. [`handle_request`](crate::Server::handle_request)
    /// calls this hook only before and after a pause; Python's does not call it at all.
    fn service_actions(&self) {}

    /// Closes the socket; a mix-in then waits for the requests that it has handed to threads or
    /// children. [`Server::server_close`](crate::Server::server_close) or the drop of the server
    /// calls this hook once, even if the server was never bound.
    fn server_close(&self);
}

/// The result of [`prepare_request`](BaseServer::prepare_request).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Preparation {
    /// The request is prepared, and its handler may run.
    Ready,
    /// The client has not sent enough bytes. The hook is called again when more bytes have arrived,
    /// or the client has ended its side.
    NeedsMore,
    /// The request is refused: it is closed without a handler. A layer that wants to explain the
    /// refusal to the client writes to the request first.
    Refused,
    /// The request is over, and nothing is left for a handler: the health check of a proxy, for
    /// example. The request is closed without a handler, and counts as
    /// [finished](crate::Outcome::Finished).
    Finished,
}

/// Carries out steps 4 to 7 of a request's life. Returns whether the handler succeeded.
///
/// [`Serve::process_request_thread`](crate::Serve::process_request_thread) is the public form.
pub(crate) fn process_request_thread<T: BaseServer>(top: &Arc<T>, request: T::Request) -> bool {
    serve_request(top, request).unwrap_or(false)
}

/// Carries out steps 4 to 7 of a request's life. Returns whether a handler has run, or the error
/// that `handle_error` has received.
pub(crate) fn serve_request<T: BaseServer>(
    top: &Arc<T>,
    mut request: T::Request,
) -> Result<bool, HandlerError> {
    let _serves = Serves::request_of(top.layer_handle().shared().stoppers());
    if !begin_service(top, &mut request) {
        guarded(top).shutdown_request(request);
        return Ok(false);
    }
    let finished = match run_step(|| prepare(top, &mut request)) {
        Ok(Prepared::ToServe) => run_step(|| top.finish_request(&mut request)),
        Ok(Prepared::ToClose) => {
            guarded(top).shutdown_request(request);
            return Ok(false);
        }
        Err(error) => Err(error),
    };
    end_service(top, request, &finished);
    finished.map(|()| true)
}

/// Begins to serve a request, in the thread that serves it. Returns false if the request is to be
/// closed without a handler.
pub(crate) fn begin_service<T: BaseServer>(top: &Arc<T>, request: &mut T::Request) -> bool {
    let shared = top.layer_handle().shared();
    // A forked child skips this: its parent emits `Started`.
    if !shared.is_forked_child() {
        if shared.lifecycle().is_overdue() {
            request.guard_mut().abort();
            return false;
        }
        guarded(top).observe_start(request);
    }
    request.begin_preparation();
    true
}

/// Steps 6 and 7: reports the error, and shuts the request down.
pub(crate) fn end_service<T: BaseServer>(
    top: &Arc<T>,
    mut request: T::Request,
    finished: &HandlerResult,
) {
    request.guard_mut().note_result(finished.as_ref().copied());
    if let Err(error) = finished {
        guarded(top).handle_error(&mut request, error);
    }
    guarded(top).shutdown_request(request);
}

/// The next step after the preparation of a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    ToServe,
    /// The request was refused, or has nothing to serve, or the server stops.
    ToClose,
}

/// Step 4: calls `prepare_request` until every layer is done.
fn prepare<T: BaseServer>(
    top: &Arc<T>,
    request: &mut T::Request,
) -> Result<Prepared, HandlerError> {
    loop {
        if let Some(prepared) = prepare_now(top, request)? {
            return Ok(prepared);
        }
        if !request.wait_for_more()? {
            request.guard_mut().abort_idle();
            return Ok(Prepared::ToClose);
        }
    }
}

/// Calls `prepare_request` once. Returns `None` if a layer needs more bytes.
pub(crate) fn prepare_now<T: BaseServer>(
    top: &Arc<T>,
    request: &mut T::Request,
) -> Result<Option<Prepared>, HandlerError> {
    match top.prepare_request(request)? {
        Preparation::NeedsMore => return Ok(None),
        Preparation::Refused => {
            request.guard_mut().refuse(Refusal::NotPrepared);
            return Ok(Some(Prepared::ToClose));
        }
        Preparation::Finished => {
            request.guard_mut().note_result(Ok(()));
            return Ok(Some(Prepared::ToClose));
        }
        Preparation::Ready => request.end_preparation(),
    }
    if request.guard().is_corrected()
        && let Some(why) = request.guard().limit_per_address_exceeded()
    {
        let message = top.layer_handle().shared().settings().refusal();
        guarded(top).refuse(request, &message);
        request.guard_mut().refuse(why);
        return Ok(Some(Prepared::ToClose));
    }
    Ok(Some(Prepared::ToServe))
}

/// The hooks of the outermost layer, for a caller that must survive their panics.
pub(crate) fn guarded<T: BaseServer>(top: &Arc<T>) -> Guarded<'_, T> {
    Guarded(top)
}

/// The result of [`guarded`]. Each method calls the hook of its name, and logs a panic in it.
pub(crate) struct Guarded<'a, T>(&'a Arc<T>);

impl<T: BaseServer> Guarded<'_, T> {
    pub(crate) fn process_request(&self, request: T::Request) {
        let client = request.client_address().clone();
        // The closure takes the request out of the slot. If the hook panics, unwinding drops the
        // request, which closes the connection. A closure that owned the request would move it
        // twice more.
        let mut slot = Some(request);
        survive(self.name(&client), "process_request", || {
            if let Some(request) = slot.take() {
                self.0.process_request(self.0, request);
            }
        });
    }

    pub(crate) fn handle_error(&self, request: &mut T::Request, error: &HandlerError) {
        let handled = catch_panic(|| self.0.handle_error(request, error));
        if let Err(panic) = handled {
            let client = name_of(&*request);
            log_line!(
                Level::Error,
                "{client}: {}; handle_error, called with this error, {panic}",
                WithCauses(&**error)
            );
        }
    }

    pub(crate) fn shutdown_request(&self, request: T::Request) {
        let client = request.client_address().clone();
        let mut slot = Some(request);
        survive(self.name(&client), "shutdown_request", || {
            if let Some(request) = slot.take() {
                self.0.shutdown_request(self.0, request);
            }
        });
    }

    /// Sends the message of a limit, through a request and a stream that may panic.
    pub(crate) fn refuse(&self, request: &mut T::Request, message: &[u8]) {
        if let Err(panic) = catch_panic(|| request.refuse(message)) {
            log_line!(Level::Error, "{}: refuse {panic}", name_of(&*request));
        }
    }

    pub(crate) fn handle_timeout(&self) {
        let server = self.0.layer_handle().server().server_address();
        survive(server, "handle_timeout", || self.0.handle_timeout());
    }

    /// Logs the event, and emits it to the layers.
    pub(crate) fn observe(&self, client: &Address, event: &RequestEvent) {
        log_event(self.name(client), event);
        survive(self.name(client), "observe", || {
            self.0.observe(client, event)
        });
    }

    fn name<'c>(&'c self, client: &'c Address) -> ClientName<'c> {
        let server = self.0.layer_handle().server();
        ClientName { client, server }
    }

    /// Emits `Started`.
    pub(crate) fn observe_start(&self, request: &mut T::Request) {
        request.guard_mut().note_start();
        let accepted = request.guard().accepted();
        let started = RequestEvent::Started { accepted };
        self.observe(request.client_address(), &started);
    }
}

/// The client of a request, for the log.
pub(crate) fn name_of<R: Request>(request: &R) -> ClientName<'_> {
    let (client, server) = (request.client_address(), request.guard().server());
    ClientName { client, server }
}

/// Calls a hook, and logs its panic with the client or server `about`.
fn survive(about: impl fmt::Display, hook: &str, call: impl FnOnce()) {
    if let Err(panic) = catch_panic(call) {
        log_line!(Level::Error, "{about}: {hook} {panic}");
    }
}

/// The layers of a server, which receive the events of a request that ends without a reference to
/// the outermost layer. A weak reference, because the layers own the handle that owns this value.
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

    fn has_client_at_socket(&self) -> bool {
        let top = self.0.upgrade();
        let socket = top.and_then(|top| catch_panic(|| top.socket()).ok()?.ok());
        socket.is_some_and(|socket| readable_now(socket.as_fd()).unwrap_or(false))
    }
}
