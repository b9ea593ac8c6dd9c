//! A mix-in that is chosen when the program runs.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::base_server::{BaseServer, Preparation};
use crate::mix_ins::forking::ForkingMixIn;
use crate::mix_ins::reactor::ReactorMixIn;
use crate::mix_ins::thread_pool::ThreadPoolMixIn;
use crate::mix_ins::threading::ThreadingMixIn;
use crate::running::layer_handle::LayerHandle;
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::error::{Error, HandlerError, HandlerResult};
use crate::values::request_event::RequestEvent;

/// One of the mix-ins, or none, chosen when the program runs: from its configuration, for example.
///
/// All variants are of one type, so the program needs no code for each of them:
///
/// ```
/// use socketserver::{AnyMixIn, Serve, TcpServer, ThreadPoolMixIn, ThreadingMixIn};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let workers = Some(8); // of the configuration
/// let server = TcpServer::new("127.0.0.1:0", || Nothing)
///     .mix_in(|next| match workers {
///         Some(workers) => AnyMixIn::ThreadPool(ThreadPoolMixIn::new(next).workers(workers)),
///         None => AnyMixIn::Threading(ThreadingMixIn::new(next)),
///     })
///     .bind()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
///
/// Python's counterpart is a class that is made with `type(name, (mixin, TCPServer), {})`.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub enum AnyMixIn<S: BaseServer> {
    /// No mix-in: the loop serves the requests itself, one at a time.
    None(S),
    /// Serves each request in a thread of its own.
    Threading(ThreadingMixIn<S>),
    /// Serves each request in a child process.
    Forking(ForkingMixIn<S>),
    /// Serves requests in a fixed number of threads.
    ThreadPool(ThreadPoolMixIn<S>),
    /// Serves connections with a reactor, so that a silent client costs no thread.
    Reactor(ReactorMixIn<S>),
}

/// Calls a hook of the chosen layer.
macro_rules! chosen {
    ($self:ident, $layer:ident => $call:expr) => {
        match $self {
            AnyMixIn::None($layer) => $call,
            AnyMixIn::Threading($layer) => $call,
            AnyMixIn::Forking($layer) => $call,
            AnyMixIn::ThreadPool($layer) => $call,
            AnyMixIn::Reactor($layer) => $call,
        }
    };
}

impl<S: BaseServer> BaseServer for AnyMixIn<S> {
    type Request = S::Request;

    fn layer_handle(&self) -> &LayerHandle {
        chosen!(self, layer => layer.layer_handle())
    }

    fn socket(&self) -> Result<Arc<OwnedFd>, Error> {
        chosen!(self, layer => layer.socket())
    }

    fn server_bind(&self) -> Result<(), Error> {
        chosen!(self, layer => BaseServer::server_bind(layer))
    }

    fn server_activate(&self) -> Result<(), Error> {
        chosen!(self, layer => BaseServer::server_activate(layer))
    }

    fn is_ready(&self) -> bool {
        chosen!(self, layer => BaseServer::is_ready(layer))
    }

    fn get_request(&self) -> Result<Self::Request, GetRequestError> {
        chosen!(self, layer => BaseServer::get_request(layer))
    }

    fn verify_request(&self, request: &mut Self::Request) -> bool {
        chosen!(self, layer => BaseServer::verify_request(layer, request))
    }

    fn process_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        chosen!(self, layer => BaseServer::process_request(layer, top, request));
    }

    fn prepare_request(&self, request: &mut Self::Request) -> Result<Preparation, HandlerError> {
        chosen!(self, layer => BaseServer::prepare_request(layer, request))
    }

    fn finish_request(&self, request: &mut Self::Request) -> HandlerResult {
        chosen!(self, layer => BaseServer::finish_request(layer, request))
    }

    fn handle_error(&self, request: &mut Self::Request, error: &HandlerError) {
        chosen!(self, layer => BaseServer::handle_error(layer, request, error));
    }

    fn shutdown_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        chosen!(self, layer => BaseServer::shutdown_request(layer, top, request));
    }

    fn close_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        chosen!(self, layer => BaseServer::close_request(layer, top, request));
    }

    fn after_fork_in_child(&self) {
        chosen!(self, layer => BaseServer::after_fork_in_child(layer));
    }

    fn handle_timeout(&self) {
        chosen!(self, layer => BaseServer::handle_timeout(layer));
    }

    fn timeout(&self) -> Option<Duration> {
        chosen!(self, layer => BaseServer::timeout(layer))
    }

    fn observe(&self, client: &Address, event: &RequestEvent) {
        chosen!(self, layer => BaseServer::observe(layer, client, event));
    }

    fn service_actions(&self) {
        chosen!(self, layer => BaseServer::service_actions(layer));
    }

    fn server_close(&self) {
        chosen!(self, layer => BaseServer::server_close(layer));
    }
}
