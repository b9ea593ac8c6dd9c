//! The numbers of all servers of a program, as text.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::mix_ins::metrics::collector::Listeners;
use crate::mix_ins::metrics::listener::Listener;
use crate::mix_ins::metrics::process::ProcessCollector;

/// The metrics of a program: the numbers of the servers that have a
/// [`MetricsMixIn`](crate::MetricsMixIn), of the process, and of the program itself. All clones
/// share the same metrics.
///
/// Each server's numbers have the label `listener`. A datagram counts as a connection.
///
/// | `socketserver_…` | Type | Labels | Meaning |
/// |---|---|---|---|
/// | `connections_accepted` | counter | | `Statistics::accepted` |
/// | `connections_refused` | counter | `reason` | counted by [`Refusal`](crate::Refusal) |
/// | `connections_ended` | counter | `outcome` | counted by [`Outcome`](crate::Outcome) |
/// | `connections_active` | gauge | | `Statistics::active` |
/// | `connections_idle` | gauge | | `Statistics::idle` |
/// | `connections_queued` | gauge | | requests that wait for a worker of a pool |
/// | `limit_connections` | gauge | | `Limits::max_connections`, if set |
/// | `queue_duration_seconds` | histogram | | times from the accept to the start |
/// | `service_duration_seconds` | histogram | | times from the start to the end |
/// | `connection_duration_seconds` | histogram | | times from the accept to the end |
/// | `received_bytes` | counter | | `Statistics::received` |
/// | `sent_bytes` | counter | | `Statistics::sent` |
/// | `datagrams_dropped` | counter | | `Statistics::dropped`, of datagrams |
/// | `accept_errors` | counter | `error` | failed calls of accept(2) |
/// | `tls_handshakes` | counter | `result`, `version`, `kind` | handshakes, if any |
/// | `tls_handshake_duration_seconds` | histogram | | times of all handshakes |
/// | `tls_certificate_not_after_seconds` | gauge | `name` | the end of a certificate |
/// | `draining` | gauge | | 1 while the server stops |
/// | `suspended` | gauge | | 1 while the server is suspended |
/// | `build` | info | `version` | the version of this crate; without `listener` |
///
/// The [`Statistics`](crate::Statistics) and the [`Limits`](crate::Limits) are read when a client
/// reads the text. [`MetricsMixIn::certificates`](crate::MetricsMixIn::certificates) is the source
/// of the certificates.
///
/// In the text, the name of a counter ends in `_total`, and that of the info in `_info`. The
/// process has `process_open_fds`, `process_max_fds`, `process_resident_memory_bytes`,
/// `process_cpu_seconds_total` and `process_start_time_seconds`, on Linux.
///
/// A [server](crate::TcpServer) of which this value is the factory answers `GET /metrics`:
/// [`MetricsHandler`](crate::MetricsHandler) has the details. Python has no counterpart; its
/// programs use the package `prometheus_client`.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: RwLock<Registry>,
    listeners: Arc<Listeners>,
}

impl Metrics {
    /// Makes metrics that have no server yet.
    #[must_use]
    pub fn new() -> Self {
        let listeners = Arc::new(Listeners::default());
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("socketserver");
        own.register_collector(Box::new(listeners.clone()));
        registry.register_collector(Box::new(ProcessCollector));
        let registry = RwLock::new(registry);
        Self(Arc::new(Inner {
            registry,
            listeners,
        }))
    }

    /// Lets the program add numbers of its own, which are in the text beside those of the servers.
    /// The names begin with `prefix` and an underscore.
    ///
    /// Neither `add` nor the collectors that it registers may use these metrics: such a call would
    /// wait for ever.
    ///
    /// ```
    /// use socketserver::Metrics;
    /// use socketserver::prometheus_client::metrics::counter::Counter;
    ///
    /// let metrics = Metrics::new();
    /// let orders = Counter::<u64>::default();
    /// metrics.register("shop", |registry| {
    ///     registry.register("orders", "Orders that were placed", orders.clone());
    /// });
    /// orders.inc();
    /// let text = metrics.text(Default::default())?;
    /// assert!(text.contains("\nshop_orders_total 1\n"));
    /// # Ok::<(), std::fmt::Error>(())
    /// ```
    pub fn register(&self, prefix: &str, add: impl FnOnce(&mut Registry)) {
        let registry = self.0.registry.write();
        let mut registry = registry.unwrap_or_else(PoisonError::into_inner);
        add(registry.sub_registry_with_prefix(prefix));
    }

    /// Returns all numbers as they are now, as text.
    ///
    /// The call visits every connection of every server, as
    /// [`statistics`](crate::ServerHandle::statistics) does.
    ///
    /// # Errors
    ///
    /// The error of a collector that the program has [registered](Self::register).
    pub fn text(&self, format: MetricsFormat) -> Result<String, fmt::Error> {
        let registry = self.0.registry.read();
        let registry = registry.unwrap_or_else(PoisonError::into_inner);
        let mut written = String::new();
        match format {
            MetricsFormat::OpenMetrics => text::encode(&mut written, &registry)?,
            MetricsFormat::Prometheus => prometheus_text::encode(&mut written, &registry)?,
        }
        Ok(written)
    }

    pub(super) fn add(&self, listener: &Arc<Listener>) {
        self.0.listeners.add(listener);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.listeners).finish()
    }
}

/// The form of the text of [`Metrics`]. Python has no counterpart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// OpenMetrics 1.0.
    #[default]
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

impl MetricsFormat {
    /// Returns the value of the header `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}
