//! The numbers of the servers, at the time when a client reads them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::mix_ins::metrics::histogram::Times;
use crate::mix_ins::metrics::listener::{Listener, Numbers};
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::values::request_event::{HandshakeResult, Outcome, Refusal};
use crate::values::statistics::Statistics;

/// The servers whose numbers are read.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Weak<Listener>>>);

impl Listeners {
    pub fn add(&self, listener: &Arc<Listener>) {
        let mut listeners = lock(&self.0);
        listeners.retain(|it| it.strong_count() > 0);
        listeners.push(Arc::downgrade(listener));
    }

    /// Returns the present numbers of each label.
    fn now(&self) -> BTreeMap<String, Numbers> {
        // The lock is released first, since reading a server visits its connections.
        let listeners = lock(&self.0).clone();
        let mut numbers = BTreeMap::<String, Numbers>::new();
        for listener in listeners.iter().filter_map(Weak::upgrade) {
            let more = listener.now();
            match numbers.get_mut(&listener.label()) {
                Some(sum) => sum.add(more),
                None => drop(numbers.insert(listener.label(), more)),
            }
        }
        numbers
    }
}

impl Collector for Listeners {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbers = self.now();
        let mut families = Families { encoder, numbers };
        families.encode_build()?;
        families.encode_counts()?;
        families.encode_gauges()?;
        families.encode_bytes()?;
        families.encode_times()?;
        families.encode_handshakes()
    }
}

/// A name, and its meaning.
type Family = (&'static str, &'static str);

/// The labels of a number, beside `listener`.
type Labels = Vec<(&'static str, String)>;

/// Encodes families of numbers, each with a label for its server.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
    numbers: BTreeMap<String, Numbers>,
}

impl Families<'_> {
    fn encode_build(&mut self) -> fmt::Result {
        let (name, help) = ("build", "The version of the crate socketserver");
        let kind = MetricType::Info;
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        family.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }

    fn encode_counts(&mut self) -> fmt::Result {
        let accepted = (
            "connections_accepted",
            "Connections that were accepted and datagrams that were received",
        );
        self.counters(accepted, |it| unlabelled(it.statistics.accepted))?;
        let refused = (
            "connections_refused",
            "Connections that were closed without a handler",
        );
        self.counters(refused, |it| {
            let counts = it.refused();
            let labelled = counts.map(|(why, count)| (label("reason", reason(why)), count));
            labelled.collect()
        })?;
        let ended = (
            "connections_ended",
            "Connections that are over by how they ended",
        );
        self.counters(ended, |it| {
            let counts = Outcome::ALL.map(|it| (it, outcome(it)));
            let labelled = counts.map(|(outcome, name)| {
                let count = ended_so(&it.statistics, outcome);
                (label("outcome", name), count)
            });
            labelled.into()
        })?;
        let errors = ("accept_errors", "Failed calls of accept");
        self.counters(errors, |it| {
            let counts = it.accept_errors();
            let labelled = counts.map(|(error, count)| (vec![("error", error)], count));
            labelled.collect()
        })?;
        let dropped = (
            "datagrams_dropped",
            "Datagrams that the kernel has dropped before the server received them",
        );
        self.counters(dropped, |it| match it.serves_datagrams {
            true => unlabelled(it.statistics.dropped),
            false => Vec::new(),
        })
    }

    fn encode_gauges(&mut self) -> fmt::Result {
        let active = ("connections_active", "Connections that are open");
        self.gauges(active, |it| Some(it.statistics.active))?;
        let idle = (
            "connections_idle",
            "Open connections that wait for their client",
        );
        self.gauges(idle, |it| Some(it.statistics.idle))?;
        let queued = (
            "connections_queued",
            "Accepted connections that wait for a worker",
        );
        self.gauges(queued, |it| Some(it.queued))?;
        let limit = (
            "limit_connections",
            "The most connections that are open at a time",
        );
        self.gauges(limit, |it| it.limit)?;
        let draining = ("draining", "Whether the server stops");
        self.gauges(draining, |it| Some(it.is_draining.into()))?;
        let suspended = ("suspended", "Whether the server is suspended");
        self.gauges(suspended, |it| Some(it.is_suspended.into()))
    }

    fn encode_bytes(&mut self) -> fmt::Result {
        let received = ("received", "Bytes that were received");
        let unit = Some(&Unit::Bytes);
        self.counters_in(received, unit, |it| unlabelled(it.statistics.received))?;
        let sent = ("sent", "Bytes that were sent");
        self.counters_in(sent, unit, |it| unlabelled(it.statistics.sent))
    }

    fn encode_times(&mut self) -> fmt::Result {
        let waits = (
            "queue_duration",
            "The time from the accept of a connection to the beginning of its service",
        );
        self.histograms(waits, |it| Some(&it.waits))?;
        let services = (
            "service_duration",
            "The time from the beginning of a connection's service to its end",
        );
        self.histograms(services, |it| Some(&it.services))?;
        let connections = (
            "connection_duration",
            "The time from the accept of a connection to its end",
        );
        self.histograms(connections, |it| Some(&it.connections))
    }

    fn encode_handshakes(&mut self) -> fmt::Result {
        let handshakes = ("tls_handshakes", "TLS handshakes by how they ended");
        self.counters(handshakes, |it| {
            let labelled = it.handshakes().map(|(result, version, count)| {
                let (result, kind) = result_and_kind(result);
                let version = version.map_or(String::new(), |it| it.to_string());
                let mut labels = label("result", result);
                labels.push(("version", version));
                labels.push(("kind", kind.to_owned()));
                (labels, count)
            });
            labelled.collect()
        })?;
        let times = ("tls_handshake_duration", "The time of a TLS handshake");
        self.histograms(times, |it| {
            (it.handshake_times.count() > 0).then_some(&it.handshake_times)
        })?;
        let ends = (
            "tls_certificate_not_after",
            "When a certificate ends, since the beginning of 1970",
        );
        let of = |it: &Numbers| {
            let ends = it.certificates.iter();
            Vec::from_iter(ends.map(|(name, end)| (label("name", name), *end)))
        };
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Gauge);
        self.each(ends, unit, kind, of, |mut encoder, end| {
            encoder.encode_gauge(&end)
        })
    }

    fn counters(
        &mut self,
        family: Family,
        of: impl Fn(&Numbers) -> Vec<(Labels, u64)>,
    ) -> fmt::Result {
        self.counters_in(family, None, of)
    }

    fn counters_in(
        &mut self,
        family: Family,
        unit: Option<&Unit>,
        of: impl Fn(&Numbers) -> Vec<(Labels, u64)>,
    ) -> fmt::Result {
        self.each(
            family,
            unit,
            MetricType::Counter,
            of,
            |mut encoder, count| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        )
    }

    fn gauges(&mut self, family: Family, of: impl Fn(&Numbers) -> Option<u64>) -> fmt::Result {
        let of = |it: &Numbers| of(it).map(|value| (Labels::new(), value));
        self.each(family, None, MetricType::Gauge, of, |mut encoder, value| {
            encoder.encode_gauge(&value)
        })
    }

    fn histograms(
        &mut self,
        family: Family,
        of: impl Fn(&Numbers) -> Option<&Times>,
    ) -> fmt::Result {
        let of = |it: &Numbers| of(it).map(|times| (Labels::new(), times.clone()));
        let (unit, kind) = (Some(&Unit::Seconds), MetricType::Histogram);
        self.each(family, unit, kind, of, |mut encoder, times| {
            let (sum, count) = (times.sum(), times.count());
            encoder.encode_histogram::<NoLabelSet>(sum, count, &times.buckets(), None)
        })
    }

    /// Encodes the numbers that `of` returns for each server. A family without a number is left
    /// out.
    fn each<V, I: IntoIterator<Item = (Labels, V)>>(
        &mut self,
        (name, help): Family,
        unit: Option<&Unit>,
        kind: MetricType,
        of: impl Fn(&Numbers) -> I,
        encode: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let all = self.numbers.iter().flat_map(|(listener, numbers)| {
            let labelled = of(numbers).into_iter();
            labelled.map(|(mut labels, value)| {
                labels.insert(0, ("listener", listener.clone()));
                (labels, value)
            })
        });
        let all = Vec::from_iter(all);
        if all.is_empty() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in all {
            encode(family.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

fn unlabelled(count: u64) -> Vec<(Labels, u64)> {
    vec![(Labels::new(), count)]
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// Returns the label of a reason. The label is a part of the interface, and does not change with
/// the text of the log.
fn reason(why: Refusal) -> &'static str {
    match why {
        Refusal::NotVerified => "not_verified",
        Refusal::NotPrepared => "not_prepared",
        Refusal::TooManyConnections => "too_many_connections",
        Refusal::TooManyFromAddress => "too_many_from_address",
        Refusal::FromItself => "from_itself",
        Refusal::Stopping => "stopping",
    }
}

/// Returns the label of an outcome, as [`reason`] does for a reason.
fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Finished => "finished",
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed_out",
        Outcome::Panicked => "panicked",
        Outcome::Aborted => "aborted",
    }
}

fn ended_so(statistics: &Statistics, outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Finished => statistics.finished,
        Outcome::Failed => statistics.failed,
        Outcome::TimedOut => statistics.timed_out,
        Outcome::Panicked => statistics.panicked,
        Outcome::Aborted => statistics.aborted,
    }
}

/// The labels of a handshake's result: how the handshake ended, and whether it resumed a session.
fn result_and_kind(result: HandshakeResult) -> (&'static str, &'static str) {
    match result {
        HandshakeResult::Full => ("complete", "full"),
        HandshakeResult::Resumed => ("complete", "resumed"),
        HandshakeResult::Failed => ("failed", ""),
        HandshakeResult::Abandoned => ("abandoned", ""),
    }
}
