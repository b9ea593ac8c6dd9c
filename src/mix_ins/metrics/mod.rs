//! The mix-in that makes the numbers of a server readable for Prometheus.

mod collector;
mod endpoint;
mod histogram;
mod listener;
mod negotiation;
mod process;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::base_server::BaseServer;
use crate::mix_in::{MixIn, RequestOf};
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::request_event::RequestEvent;
use listener::Listener;

pub use endpoint::MetricsHandler;
pub use registry::{Metrics, MetricsFormat};

/// Makes the numbers of a server readable in a [`Metrics`], which several servers may share.
///
/// The layer counts nothing that the server counts already: when a client reads the metrics, the
/// layer reads the [statistics](crate::Statistics) of the server. From the events that
/// [`observe`](BaseServer::observe) receives, the layer adds how long requests wait and are served,
/// why requests are refused, and how handshakes end. So a request costs a few additions to atomics,
/// and reads the clock three times.
///
/// The layer may be anywhere in the stack, around a server of connections or of datagrams, and
/// works with every mix-in. Under [`ForkingMixIn`](crate::ForkingMixIn) the parent has the numbers,
/// from the reports of its children. The handshakes and bytes of a child count when the child has
/// ended.
///
/// The label `listener` of each number is the address of its server, such as
/// `tcp://127.0.0.1:9999`, or the [name](Self::listener) that the program has set. The numbers of
/// servers with the same name are added up. The numbers of a server end when the server is dropped.
///
/// [`Metrics`] has the names of all numbers. Python has no counterpart.
///
/// ```no_run
/// use socketserver::{
///     Metrics, MetricsMixIn, Serve, Servers, TcpServer, ThreadPoolMixIn, ThreadingMixIn,
/// };
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Echo;
/// # impl RequestHandler for Echo {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let metrics = Metrics::new();
/// let service = TcpServer::new("0.0.0.0:9999", || Echo)
///     .mix_in(ThreadingMixIn::new)
///     .mix_in(|next| MetricsMixIn::new(next, &metrics))
///     .bind()?;
/// // On an address of its own, and with threads of its own: it answers while the service is full.
/// let scrapes = TcpServer::new("127.0.0.1:9100", metrics)
///     .mix_in(ThreadPoolMixIn::new)
///     .workers(2)
///     .bind()?;
/// Servers::new().with(service).with(scrapes).serve_forever()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct MetricsMixIn<S> {
    next: S,
    /// `None` if there are no metrics.
    listener: Option<Arc<Listener>>,
}

impl<S: BaseServer> MetricsMixIn<S> {
    /// Makes the numbers of `next` readable in `metrics`.
    pub fn new(next: S, metrics: &Metrics) -> Self {
        Self::optional(next, Some(metrics))
    }

    /// Makes the layer as [`new`](Self::new) does. With `None` the layer does nothing, for a
    /// program whose user decides whether there are metrics.
    pub fn optional(next: S, metrics: Option<&Metrics>) -> Self {
        let listener = metrics.map(|metrics| {
            next.layer_handle().note_start_times();
            let listener = Arc::new(Listener::new(next.layer_handle().server().clone()));
            metrics.add(&listener);
            listener
        });
        Self { next, listener }
    }

    /// Sets the label `listener` of the numbers; unless set, the label is the server's address.
    pub fn listener(self, name: impl Into<String>) -> Self {
        self.set_listener(name);
        self
    }

    /// Sets the label, as [`listener`](Self::listener) does, when the server is bound already and
    /// its port is known. The program reaches this method with
    /// [`Server::stack`](crate::Server::stack). Only the first call of the two methods has an
    /// effect.
    pub fn set_listener(&self, name: impl Into<String>) {
        if let Some(listener) = &self.listener {
            listener.set_name(name.into());
        }
    }

    /// Sets the source of the names and the ends of the server's certificates,
    /// `TlsConfig::expiries` for example. The layer calls the source when a client reads the
    /// metrics.
    pub fn certificates(
        self,
        expiries: impl Fn() -> Vec<(String, SystemTime)> + Send + Sync + 'static,
    ) -> Self {
        if let Some(listener) = &self.listener {
            listener.set_certificates(Box::new(expiries));
        }
        self
    }
}

impl<S: BaseServer> MixIn for MetricsMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn get_request(&self) -> Result<RequestOf<Self>, GetRequestError> {
        let result = self.next.get_request();
        if let (Err(error), Some(listener)) = (&result, &self.listener) {
            listener.note_accept_error(error);
        }
        result
    }

    fn observe(&self, client: &Address, event: &RequestEvent) {
        if let Some(listener) = &self.listener {
            listener.note(event);
        }
        self.next.observe(client, event);
    }
}

impl<S: fmt::Debug> fmt::Debug for MetricsMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsMixIn")
            .field("next", &self.next)
            .field("listener", &self.listener)
            .finish()
    }
}
