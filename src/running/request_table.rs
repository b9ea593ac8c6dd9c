//! The table of running requests. With this table a server bounds their number. When the server
//! stops, it interrupts the idle requests, waits for the others, and aborts those that still run.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::running::counters::{Counters, DrainCounters};
use crate::running::ended::Ended;
use crate::running::per_address::{PerAddress, Ticket};
use crate::running::request_count::RequestCount;
use crate::support::deadline::Deadline;
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::support::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::transport::connection::Connection;
use crate::transport::traffic::Traffic;
use crate::values::drain_report::DrainReport;
use crate::values::statistics::Statistics;

/// The time that aborted requests have to end, and that a request has which stopped its own server.
/// After this time a closing server leaves them running.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// The table of every request between its accept and its close.
#[derive(Debug)]
pub(crate) struct RequestTable {
    count: RequestCount,
    connections: Mutex<Connections>,
    /// Whether [`Connections::per_address`] is set. Requests without a connection read this flag,
    /// so that they need no lock.
    counts_addresses: AtomicBool,
    counters: Counters,
    drained: DrainCounters,
}

impl RequestTable {
    pub(crate) fn new() -> Self {
        Self {
            count: RequestCount::new(),
            connections: Mutex::default(),
            counts_addresses: AtomicBool::new(false),
            counters: Counters::default(),
            drained: DrainCounters::default(),
        }
    }

    pub(crate) fn count(&self) -> &RequestCount {
        &self.count
    }

    /// Enters a request, with its connection if the request has one.
    pub(crate) fn enter(&self, connection: Option<&Arc<Connection>>, ip: Option<IpAddr>) -> Place {
        self.counters.count_accepted();
        self.count.begin();
        if let Some(connection) = connection {
            let mut connections = lock(&self.connections);
            let ticket = connections.ticket(ip);
            let key = connections.entries.insert(Entry {
                connection: connection.clone(),
                ip,
                ticket,
            });
            return Place::OfConnection(key);
        }
        Place::Bare(self.ticket(ip))
    }

    fn ticket(&self, ip: Option<IpAddr>) -> Option<Ticket> {
        // Relaxed: a request that begins while the limit changes may be counted or not.
        if self.counts_addresses.load(Relaxed) {
            lock(&self.connections).ticket(ip)
        } else {
            None
        }
    }

    /// Counts the request for another address from now on.
    pub(crate) fn move_to_address(&self, place: &mut Place, ip: Option<IpAddr>) {
        match place {
            Place::Bare(ticket) => *ticket = self.ticket(ip),
            Place::OfConnection(key) => {
                let mut connections = lock(&self.connections);
                let ticket = connections.ticket(ip);
                let entry = &mut connections.entries[*key];
                (entry.ip, entry.ticket) = (ip, ticket);
            }
        }
    }

    /// Returns the number of requests from the address of this request when it was counted, itself
    /// included; `None` if that number is not bounded.
    pub(crate) fn rank_in_address(&self, place: &Place) -> Option<usize> {
        match place {
            Place::Bare(ticket) => ticket.as_ref().map(Ticket::rank),
            Place::OfConnection(key) => {
                let connections = lock(&self.connections);
                connections.entries[*key].ticket.as_ref().map(Ticket::rank)
            }
        }
    }

    /// Begins to count the requests of each address, or of each IPv6 prefix of this length.
    /// Requests that run already are counted if they have a connection.
    pub(crate) fn count_addresses(&self, ipv6_prefix: u8) {
        let mut connections = lock(&self.connections);
        let present = connections.per_address.as_ref();
        if present.is_none_or(|it| it.ipv6_prefix() != ipv6_prefix) {
            let per_address = Arc::new(PerAddress::new(ipv6_prefix));
            for (_, entry) in &mut connections.entries {
                entry.ticket = entry.ip.map(|ip| per_address.ticket(ip));
            }
            connections.per_address = Some(per_address);
        }
        self.counts_addresses.store(true, Relaxed);
    }

    /// Stops counting the requests of each address.
    pub(crate) fn ignore_addresses(&self) {
        self.counts_addresses.store(false, Relaxed);
        let mut connections = lock(&self.connections);
        connections.per_address = None;
        for (_, entry) in &mut connections.entries {
            entry.ticket = None;
        }
    }

    /// Removes a request, and adds its bytes to the totals of ended requests.
    pub(crate) fn leave(&self, place: &mut Place, traffic: &Traffic) {
        if let Place::OfConnection(key) = std::mem::take(place) {
            let mut connections = lock(&self.connections);
            connections.entries.remove(key);
            // The counters change under the lock, so that a concurrent `statistics` counts the
            // bytes exactly once.
            self.counters
                .count_traffic(traffic.received(), traffic.sent());
        } else {
            self.counters
                .count_traffic(traffic.received(), traffic.sent());
        }
    }

    /// Removes the connection of a request that a forked child serves from now on. The request
    /// counts as running until its `RequestInChild` is dropped.
    pub(crate) fn hand_to_child(&self, place: &mut Place) -> Option<Ticket> {
        self.count.begin_in_child();
        match std::mem::take(place) {
            Place::Bare(ticket) => ticket,
            Place::OfConnection(key) => lock(&self.connections).entries.remove(key).ticket,
        }
    }

    /// Counts the end of a request, without its bytes.
    pub(crate) fn count_end(&self, ended: &Ended, draining: bool) {
        self.counters.count_closed(ended.closed);
        if draining {
            self.drained.count(ended);
        }
    }

    /// Counts a request that was accepted after the stop request.
    pub(crate) fn count_from_backlog(&self) {
        self.drained.count_from_backlog();
    }

    /// Counts the bytes of a request that a forked child has served.
    pub(crate) fn count_traffic_of_child(&self, ended: &Ended) {
        self.counters.count_traffic(ended.received, ended.sent);
    }

    /// Ends the wait of every idle handler. The caller has set the draining flag before.
    pub(crate) fn interrupt_idle(&self) {
        for (_, entry) in &lock(&self.connections).entries {
            entry.connection.interrupt_idle();
        }
    }

    /// Aborts every connection of this process.
    pub(crate) fn abort(&self) {
        for (_, entry) in &lock(&self.connections).entries {
            entry.connection.abort();
        }
    }

    /// Waits, at most [`GRACE`], until no request runs in this process. Returns false if an aborted
    /// request still runs then.
    pub(crate) fn wait_for_aborted(&self) -> bool {
        self.count.wait_for_none(Deadline::after(Some(GRACE)))
    }

    /// Sets the numbers of the drain report to zero.
    pub(crate) fn reset_drain_report(&self) {
        self.drained.reset();
    }

    pub(crate) fn drain_report(&self) -> DrainReport {
        self.drained.report(self.count.total())
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let connections = lock(&self.connections);
        let mut statistics = self.statistics_without_connections();
        for (_, Entry { connection, .. }) in &connections.entries {
            statistics.idle += u64::from(connection.activity().is_waiting());
            statistics.received += connection.traffic().received();
            statistics.sent += connection.traffic().sent();
        }
        statistics
    }

    /// Returns the statistics without the idle connections, and without the bytes of active
    /// connections. Takes no lock, so that a forked child may call this method.
    pub(crate) fn statistics_without_connections(&self) -> Statistics {
        Statistics {
            active: self.count.total() as u64,
            ..self.counters.statistics()
        }
    }
}

#[derive(Debug, Default)]
struct Connections {
    entries: Slab<Entry>,
    /// Set while the number of requests from one address is bounded.
    per_address: Option<Arc<PerAddress>>,
}

impl Connections {
    fn ticket(&self, ip: Option<IpAddr>) -> Option<Ticket> {
        self.per_address
            .as_ref()
            .zip(ip)
            .map(|(it, ip)| it.ticket(ip))
    }
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    ip: Option<IpAddr>,
    ticket: Option<Ticket>,
}

/// The place of a request in the table.
#[derive(Debug)]
pub(crate) enum Place {
    /// The request has a connection, with this key.
    OfConnection(usize),
    /// The request has no connection in this process. The request may count for an address.
    Bare(Option<Ticket>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Bare(None)
    }
}
