//! The layer that shows every call of a hook.

mod handler;
mod tracer;

use std::any::type_name;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base_server::{BaseServer, Preparation};
use crate::mix_in::{MixIn, RequestOf};
use crate::requests::request::Request;
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::error::{Error, HandlerError, HandlerResult};
use crate::values::request_event::RequestEvent;
use tracer::Call;

pub use handler::TraceHandler;
pub use tracer::{TraceLine, Tracer};

/// Shows each call of a hook on the inner layer: the thread, the layer, the hook, the arguments and
/// the result, indented by the depth of the call.
///
/// A layer only receives the calls that reach its position in the stack. An outermost `TraceMixIn`
/// shows the calls of the loop and of the mix-ins, since they call hooks on the outermost layer. A
/// second `TraceMixIn` inside a mix-in shows the calls that the mix-in passes on. To show the calls
/// of every layer, put a `TraceMixIn` around each:
///
/// ```
/// use socketserver::{Serve, TcpServer, ThreadingMixIn, TraceMixIn};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Upper;
/// # impl RequestHandler for Upper {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let server = TcpServer::new("127.0.0.1:0", || Upper)
///     .mix_in(TraceMixIn::new)
///     .mix_in(ThreadingMixIn::new)
///     .mix_in(TraceMixIn::new)
///     .bind()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
///
/// ```text
/// main             ThreadingMixIn.server_bind()
/// main               TcpServer.server_bind()
/// main             ThreadingMixIn.server_activate()
/// main               TcpServer.server_activate()
/// ```
///
/// [`TraceHandler`] adds the steps of the handler. The lines go to standard error, or to a
/// [`Tracer`] of your own. Python's counterpart is `sys.setprofile`, which shows every call of a
/// program.
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct TraceMixIn<S> {
    next: S,
    name: String,
    /// `None` if there is no trace.
    tracer: Option<Tracer>,
}

impl<S: BaseServer> TraceMixIn<S> {
    /// Shows the calls of hooks on `next`, on standard error.
    pub fn new(next: S) -> Self {
        Self::optional(next, Some(&Tracer::default()))
    }

    /// Makes the layer as [`new`](Self::new) does, with a tracer of your own. With `None` the layer
    /// does nothing, for a program whose user decides whether there is a trace.
    pub fn optional(next: S, tracer: Option<&Tracer>) -> Self {
        Self {
            next,
            name: short_name(type_name::<S>()),
            tracer: tracer.cloned(),
        }
    }

    /// Sets the name of the inner layer in the lines; unless set, the name is that of its type.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn begin(&self, hook: &'static str, arguments: impl FnOnce() -> String) -> Call<'_> {
        Call::begin(self.tracer.as_ref(), &self.name, hook, arguments)
    }
}

/// Returns the name of a type without its path and its parameters.
fn short_name(name: &str) -> String {
    let path = name.split('<').next().unwrap_or(name);
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

fn nothing() -> String {
    String::new()
}

fn client_of(request: &impl Request) -> String {
    request.client_address().to_string()
}

/// Returns the text of an error, or an empty text for a success, which has no value.
fn error_of<E: fmt::Display>(result: &Result<(), E>) -> String {
    match result {
        Ok(()) => String::new(),
        Err(error) => format!("error: {error}"),
    }
}

fn event_of(event: &RequestEvent) -> String {
    match event {
        RequestEvent::Started { .. } => "Started".to_owned(),
        RequestEvent::Refused(why) => format!("Refused: {why}"),
        RequestEvent::Handshake { result, .. } => format!("Handshake: {result:?}"),
        RequestEvent::Ended { outcome, .. } => format!("Ended: {outcome:?}"),
        event => format!("{event:?}"),
    }
}

impl<S: BaseServer> MixIn for TraceMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn server_bind(&self) -> Result<(), Error> {
        let call = self.begin("server_bind", nothing);
        call.returns(self.next.server_bind(), error_of)
    }

    fn server_activate(&self) -> Result<(), Error> {
        let call = self.begin("server_activate", nothing);
        call.returns(self.next.server_activate(), error_of)
    }

    fn is_ready(&self) -> bool {
        let call = self.begin("is_ready", nothing);
        call.returns(self.next.is_ready(), bool::to_string)
    }

    fn get_request(&self) -> Result<S::Request, GetRequestError> {
        let call = self.begin("get_request", nothing);
        call.returns(self.next.get_request(), |result| match result {
            Ok(request) => client_of(request),
            Err(error) => error.to_string(),
        })
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        let call = self.begin("verify_request", || client_of(request));
        call.returns(self.next.verify_request(request), bool::to_string)
    }

    fn process_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        let _call = self.begin("process_request", || client_of(&request));
        self.next.process_request(top, request);
    }

    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        let call = self.begin("prepare_request", || client_of(request));
        call.returns(self.next.prepare_request(request), |result| match result {
            Ok(preparation) => format!("{preparation:?}"),
            Err(error) => format!("error: {error}"),
        })
    }

    fn finish_request(&self, request: &mut RequestOf<Self>) -> HandlerResult {
        let call = self.begin("finish_request", || client_of(request));
        call.returns(self.next.finish_request(request), error_of)
    }

    fn handle_error(&self, request: &mut RequestOf<Self>, error: &HandlerError) {
        let arguments = || format!("{}, {error}", client_of(request));
        let _call = self.begin("handle_error", arguments);
        self.next.handle_error(request, error);
    }

    fn shutdown_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        let _call = self.begin("shutdown_request", || client_of(&request));
        self.next.shutdown_request(top, request);
    }

    fn close_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        let _call = self.begin("close_request", || client_of(&request));
        self.next.close_request(top, request);
    }

    fn after_fork_in_child(&self) {
        let _call = self.begin("after_fork_in_child", nothing);
        self.next.after_fork_in_child();
    }

    fn handle_timeout(&self) {
        let _call = self.begin("handle_timeout", nothing);
        self.next.handle_timeout();
    }

    fn timeout(&self) -> Option<Duration> {
        let call = self.begin("timeout", nothing);
        call.returns(self.next.timeout(), |timeout| format!("{timeout:?}"))
    }

    fn observe(&self, client: &Address, event: &RequestEvent) {
        let arguments = || format!("{client}, {}", event_of(event));
        let _call = self.begin("observe", arguments);
        self.next.observe(client, event);
    }

    fn service_actions(&self) {
        let _call = self.begin("service_actions", nothing);
        self.next.service_actions();
    }

    fn server_close(&self) {
        let _call = self.begin("server_close", nothing);
        self.next.server_close();
    }
}

impl<S: fmt::Debug> fmt::Debug for TraceMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TraceMixIn")
            .field("next", &self.next)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
