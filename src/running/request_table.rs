//! The table of running requests, by which a server bounds their number, interrupts idle ones when
//! it stops, waits for the others, and aborts what is left.

use crate::support::sync::Mutex;
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
use crate::support::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::transport::connection::Connection;
use crate::transport::traffic::Traffic;
use crate::values::drain_report::DrainReport;
use crate::values::statistics::Statistics;

/// How long aborted requests may take to end, before a closing server leaves them running.
const GRACE: Duration = Duration::from_secs(1);

/// Every request that was accepted and is not closed.
#[derive(Debug)]
pub(crate) struct RequestTable {
    count: RequestCount,
    connections: Mutex<Connections>,
    /// Whether [`Connections::per_address`] is there, for requests without a connection, which need
    /// the lock for nothing else.
    counts_addresses: AtomicBool,
    counters: Counters,
    drained: DrainCounters,
}

#[derive(Debug, Default)]
struct Connections {
    entries: Slab<Entry>,
    /// While the number of requests from one address is bounded.
    per_address: Option<Arc<PerAddress>>,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    ip: Option<IpAddr>,
    ticket: Option<Ticket>,
}

/// Where a request is in the table.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The key of its connection, if it has one.
    key: Option<usize>,
    /// Its count for its address, if it has no connection in this process.
    ticket: Option<Ticket>,
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

    /// Enters a request, with its connection if it has one.
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
            let (key, ticket) = (Some(key), None);
            return Place { key, ticket };
        }
        let (key, ticket) = (None, self.ticket(ip));
        Place { key, ticket }
    }

    fn ticket(&self, ip: Option<IpAddr>) -> Option<Ticket> {
        // Relaxed: a request that begins while the limit changes may be counted or not.
        if self.counts_addresses.load(Relaxed) {
            lock(&self.connections).ticket(ip)
        } else {
            None
        }
    }

    /// Counts a request for another address from now on.
    pub(crate) fn move_to_address(&self, place: &mut Place, ip: Option<IpAddr>) {
        let Some(key) = place.key else {
            place.ticket = self.ticket(ip);
            return;
        };
        let mut connections = lock(&self.connections);
        let ticket = connections.ticket(ip);
        let entry = &mut connections.entries[key];
        (entry.ip, entry.ticket) = (ip, ticket);
    }

    /// How many requests there are from the address of this one, if that is bounded.
    pub(crate) fn count_of_address(&self, place: &Place) -> Option<usize> {
        match place.key {
            None => place.ticket.as_ref().map(Ticket::count),
            Some(key) => {
                let connections = lock(&self.connections);
                connections.entries[key].ticket.as_ref().map(Ticket::count)
            }
        }
    }

    /// Counts the requests of each address from now on, or ceases to. Requests that run already are
    /// counted if they have a connection.
    pub(crate) fn count_addresses(&self) {
        let mut connections = lock(&self.connections);
        if connections.per_address.is_none() {
            let per_address = Arc::new(PerAddress::default());
            for (_, entry) in &mut connections.entries {
                entry.ticket = entry.ip.map(|ip| per_address.ticket(ip));
            }
            connections.per_address = Some(per_address);
        }
        self.counts_addresses.store(true, Relaxed);
    }

    /// Ceases to count the requests of each address.
    pub(crate) fn ignore_addresses(&self) {
        self.counts_addresses.store(false, Relaxed);
        let mut connections = lock(&self.connections);
        connections.per_address = None;
        for (_, entry) in &mut connections.entries {
            entry.ticket = None;
        }
    }

    /// Removes a request, and adds its bytes to those of ended requests.
    pub(crate) fn leave(&self, place: &mut Place, traffic: &Traffic) {
        let Place { key, .. } = std::mem::take(place);
        if let Some(key) = key {
            let mut connections = lock(&self.connections);
            connections.entries.remove(key);
            // Under the lock, so that a concurrent `statistics` counts them exactly once.
            self.counters
                .count_traffic(traffic.received(), traffic.sent());
        } else {
            self.counters
                .count_traffic(traffic.received(), traffic.sent());
        }
    }

    /// Removes the connection of a request that a forked child serves from now on. The request
    /// counts until [`child_ended`](Self::child_ended).
    pub(crate) fn hand_to_child(&self, place: &mut Place) -> Option<Ticket> {
        self.count.begin_in_child();
        let Place { key, ticket } = std::mem::take(place);
        match key {
            None => ticket,
            Some(key) => lock(&self.connections).entries.remove(key).ticket,
        }
    }

    /// Counts the end of a request. Its bytes are counted apart.
    pub(crate) fn count_end(&self, ended: &Ended, draining: bool) {
        self.counters.count_closed(ended.closed);
        if draining {
            self.drained.count(ended);
        }
    }

    /// Counts the bytes of a request that a forked child has served.
    pub(crate) fn count_traffic_of_child(&self, ended: &Ended) {
        self.counters.count_traffic(ended.received, ended.sent);
    }

    /// Ends every wait for a message that is under way. The server's flag of the drain is set
    /// before.
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

    /// Waits for a further second until no request runs in this process, after they were aborted.
    /// Returns false if one still runs then.
    pub(crate) fn wait_for_aborted(&self) -> bool {
        self.count.wait_for_none(Deadline::after(Some(GRACE)))
    }

    /// A drain that begins from now on counts from zero.
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

    /// The statistics without the idle connections, and without the bytes of active ones. It takes
    /// no lock, for the sake of a forked child.
    pub(crate) fn statistics_without_connections(&self) -> Statistics {
        Statistics {
            active: self.count.total() as u64,
            ..self.counters.statistics()
        }
    }
}

impl Connections {
    fn ticket(&self, ip: Option<IpAddr>) -> Option<Ticket> {
        self.per_address
            .as_ref()
            .zip(ip)
            .map(|(it, ip)| it.ticket(ip))
    }
}
