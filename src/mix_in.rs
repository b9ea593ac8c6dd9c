//! The mix-in: a layer that overrides some hooks, and leaves the others to its inner layer.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::base_server::{BaseServer, Preparation};
use crate::running::layer_handle::LayerHandle;
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::error::{Error, HandlerError, HandlerResult};
use crate::values::request_event::RequestEvent;

/// The type of the requests of a [`MixIn`], which is that of its inner layer.
pub type RequestOf<M> = <<M as MixIn>::Next as BaseServer>::Request;

/// A layer of a server: Python's mix-in class, or a derived class with overrides.
///
/// A mix-in returns its inner layer from [`next`](Self::next), which is Python's `super()`, and
/// defines only the hooks that it changes. Every other hook falls through to the inner layer, as in
/// Python's method resolution order. Every type that implements `MixIn` implements [`BaseServer`]
/// too.
///
/// The documentation of a hook is at the method of the same name of [`BaseServer`].
///
/// ```
/// use std::net::IpAddr;
/// use socketserver::layer::RequestOf;
/// use socketserver::{BaseServer, MixIn, Request};
///
/// /// Serves the clients of one address only.
/// struct OnlyFrom<S> {
///     next: S,
///     ip: IpAddr,
/// }
///
/// impl<S: BaseServer> MixIn for OnlyFrom<S> {
///     type Next = S;
///     fn next(&self) -> &S {
///         &self.next
///     }
///     fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
///         request.client_address().ip() == Some(self.ip) && self.next.verify_request(request)
///     }
/// }
/// ```
///
/// If the inner layer is a concrete mix-in and not a type parameter, it has each hook from both
/// traits. A call then names the trait: `BaseServer::verify_request(&self.next, request)`.
///
/// In `TcpServer::new(…).mix_in(|next| OnlyFrom { next, ip }).mix_in(ThreadingMixIn::new)`, the
/// inner layer of `ThreadingMixIn` is `OnlyFrom`. The other order works too, since hooks are called
/// on the outermost layer.
#[doc(alias = "super")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer of a server",
    note = "a layer of your own implements `MixIn`, for every inner layer `S: BaseServer` or for \
            those whose requests it understands"
)]
pub trait MixIn: Sized + Send + Sync + 'static {
    /// The type of the inner layer.
    type Next: BaseServer;

    /// Returns the inner layer: Python's `super()`.
    fn next(&self) -> &Self::Next;

    /// See [`BaseServer::server_bind`].
    fn server_bind(&self) -> Result<(), Error> {
        self.next().server_bind()
    }

    /// See [`BaseServer::server_activate`].
    fn server_activate(&self) -> Result<(), Error> {
        self.next().server_activate()
    }

    /// See [`BaseServer::is_ready`].
    fn is_ready(&self) -> bool {
        self.next().is_ready()
    }

    /// See [`BaseServer::get_request`].
    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        self.next().get_request()
    }

    /// See [`BaseServer::verify_request`].
    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        self.next().verify_request(request)
    }

    /// See [`BaseServer::process_request`].
    fn process_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.next().process_request(top, request);
    }

    /// See [`BaseServer::prepare_request`].
    fn prepare_request(&self, request: &mut RequestOf<Self>) -> Result<Preparation, HandlerError> {
        self.next().prepare_request(request)
    }

    /// See [`BaseServer::finish_request`].
    fn finish_request(&self, request: &mut RequestOf<Self>) -> HandlerResult {
        self.next().finish_request(request)
    }

    /// See [`BaseServer::handle_error`].
    fn handle_error(&self, request: &mut RequestOf<Self>, error: &HandlerError) {
        self.next().handle_error(request, error);
    }

    /// See [`BaseServer::shutdown_request`].
    fn shutdown_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.next().shutdown_request(top, request);
    }

    /// See [`BaseServer::close_request`].
    fn close_request<T>(&self, top: &Arc<T>, request: RequestOf<Self>)
    where
        T: BaseServer<Request = RequestOf<Self>>,
    {
        self.next().close_request(top, request);
    }

    /// See [`BaseServer::after_fork_in_child`].
    fn after_fork_in_child(&self) {
        self.next().after_fork_in_child();
    }

    /// See [`BaseServer::handle_timeout`].
    fn handle_timeout(&self) {
        self.next().handle_timeout();
    }

    /// See [`BaseServer::timeout`].
    fn timeout(&self) -> Option<Duration> {
        self.next().timeout()
    }

    /// See [`BaseServer::observe`].
    fn observe(&self, client: &Address, event: &RequestEvent) {
        self.next().observe(client, event);
    }

    /// See [`BaseServer::service_actions`].
    fn service_actions(&self) {
        self.next().service_actions();
    }

    /// See [`BaseServer::server_close`].
    fn server_close(&self) {
        self.next().server_close();
    }
}

impl<M: MixIn> BaseServer for M {
    type Request = RequestOf<M>;

    fn layer_handle(&self) -> &LayerHandle {
        self.next().layer_handle()
    }

    fn socket(&self) -> Result<Arc<OwnedFd>, Error> {
        self.next().socket()
    }

    fn server_bind(&self) -> Result<(), Error> {
        MixIn::server_bind(self)
    }

    fn server_activate(&self) -> Result<(), Error> {
        MixIn::server_activate(self)
    }

    fn is_ready(&self) -> bool {
        MixIn::is_ready(self)
    }

    fn get_request(&self) -> Result<Self::Request, GetRequestError> {
        MixIn::get_request(self)
    }

    fn verify_request(&self, request: &mut Self::Request) -> bool {
        MixIn::verify_request(self, request)
    }

    fn process_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        MixIn::process_request(self, top, request);
    }

    fn prepare_request(&self, request: &mut Self::Request) -> Result<Preparation, HandlerError> {
        MixIn::prepare_request(self, request)
    }

    fn finish_request(&self, request: &mut Self::Request) -> HandlerResult {
        MixIn::finish_request(self, request)
    }

    fn handle_error(&self, request: &mut Self::Request, error: &HandlerError) {
        MixIn::handle_error(self, request, error);
    }

    fn shutdown_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        MixIn::shutdown_request(self, top, request);
    }

    fn close_request<T>(&self, top: &Arc<T>, request: Self::Request)
    where
        T: BaseServer<Request = Self::Request>,
    {
        MixIn::close_request(self, top, request);
    }

    fn after_fork_in_child(&self) {
        MixIn::after_fork_in_child(self);
    }

    fn handle_timeout(&self) {
        MixIn::handle_timeout(self);
    }

    fn timeout(&self) -> Option<Duration> {
        MixIn::timeout(self)
    }

    fn observe(&self, client: &Address, event: &RequestEvent) {
        MixIn::observe(self, client, event);
    }

    fn service_actions(&self) {
        MixIn::service_actions(self);
    }

    fn server_close(&self) {
        MixIn::server_close(self);
    }
}
