//! The table of running requests, by which a server bounds their number, and a stopping one tells
//! idle clients, waits for busy ones and cuts off the rest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::support::lock::lock;
use crate::transport::connection::Connection;
use crate::values::drain_report::DrainReport;
use crate::values::limits::Limits;
use crate::values::request_event::{Outcome, Refusal};
use crate::values::statistics::{Counters, Statistics};

/// How long requests that were cut off may take to notice, before they are given up as running.
const GRACE: Duration = Duration::from_secs(1);

/// Every request that has been got and not yet closed.
#[derive(Debug, Default)]
pub(crate) struct ActiveRequests {
    draining: AtomicBool,
    /// The time of those that run when the server is closed is over.
    too_late: AtomicBool,
    /// Requests of this process.
    running: AtomicUsize,
    /// Requests of forked children that have not been collected.
    in_children: AtomicUsize,
    /// Threads that wait for the end of all requests.
    waiters: AtomicUsize,
    /// The loop waits for the end of any.
    loop_waits: AtomicBool,
    /// The table has the requests of each address.
    counts_addresses: AtomicBool,
    table: Mutex<Table>,
    all_ended: Condvar,
    drained: Drained,
    counters: Counters,
}

/// What became of requests since the drain began.
#[derive(Debug, Default)]
struct Drained {
    idle: AtomicUsize,
    ended: AtomicUsize,
    cut: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    connections: Slab<Arc<Connection>>,
    /// How many requests there are from each address, while that is bounded.
    by_address: Option<HashMap<IpAddr, usize>>,
    /// How often such counting has begun.
    countings: u64,
}

/// Where a request stands in the table.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Of its connection, if it has one.
    key: Option<usize>,
    /// How it is counted by itself, without a connection in this process.
    counted: Option<Counted>,
}

/// A request that is counted for its address.
#[derive(Debug, Clone, Copy)]
struct Counted {
    ip: IpAddr,
    /// Which counting it is in: one that has begun later does not know of it.
    counting: u64,
}

impl ActiveRequests {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// Requests that run now, in forked children too.
    pub(crate) fn count(&self) -> usize {
        self.running.load(SeqCst) + self.in_children.load(SeqCst)
    }

    pub(crate) fn has_children(&self) -> bool {
        self.in_children.load(SeqCst) > 0
    }

    /// Enters a request, with its connection if it has one.
    pub(crate) fn enter(&self, connection: Option<Arc<Connection>>, ip: Option<IpAddr>) -> Entry {
        self.counters.count_accepted();
        self.running.fetch_add(1, SeqCst);
        match connection {
            Some(connection) => {
                let mut table = lock(&self.table);
                table.count(ip);
                let key = Some(table.connections.insert(connection));
                Entry { key, counted: None }
            }
            None if self.counts_addresses.load(SeqCst) => Entry {
                key: None,
                counted: lock(&self.table).count(ip),
            },
            None => Entry::default(),
        }
    }

    /// Takes a request out of the table, whose bytes are counted from now on with those of the ended.
    pub(crate) fn leave(&self, entry: &mut Entry) {
        let Entry { key, counted } = std::mem::take(entry);
        if key.is_none() && counted.is_none() {
            return;
        }
        let mut table = lock(&self.table);
        if let Some(Counted { ip, counting }) = counted
            && counting == table.countings
        {
            table.discount(Some(ip));
        }
        if let Some(key) = key {
            let connection = table.connections.remove(key);
            table.discount(connection.ip());
            let traffic = connection.traffic();
            // Under the lock: else they would be missed, or counted twice, by who asks now.
            self.counters
                .count_traffic(traffic.received(), traffic.sent());
        }
    }

    /// Takes a connection out of the table that a forked child has from now on, while its request
    /// goes on to count.
    pub(crate) fn hand_to_child(&self, entry: &mut Entry) -> Entry {
        self.in_children.fetch_add(1, SeqCst);
        let Some(key) = entry.key.take() else {
            return std::mem::take(entry);
        };
        let mut table = lock(&self.table);
        let ip = table.connections.remove(key).ip();
        let counted = table.counted(ip);
        Entry { key: None, counted }
    }

    /// Whether the request from `ip` that has been entered last is to be refused for a limit.
    pub(crate) fn is_above(&self, limits: &Limits, ip: Option<IpAddr>) -> Option<Refusal> {
        // One that might have waited has been got just before the limit was lowered.
        let max = limits.max_connections.filter(|_| !limits.lets_wait());
        if max.is_some_and(|max| self.count() > max) {
            return Some(Refusal::TooManyConnections);
        }
        let max = limits.max_connections_per_address?;
        let table = lock(&self.table);
        let count = table.by_address.as_ref()?.get(&ip?)?;
        (*count > max).then_some(Refusal::TooManyFromAddress)
    }

    /// Begins, or ceases, to count the requests of each address; those with a connection are counted
    /// also if they were there before.
    pub(crate) fn count_addresses(&self, count: bool) {
        let mut table = lock(&self.table);
        if !count {
            table.by_address = None;
        } else if table.by_address.is_none() {
            let ips = Vec::from_iter(table.connections.iter().map(|(_, it)| it.ip()));
            table.by_address = Some(HashMap::new());
            table.countings += 1;
            for ip in ips {
                table.count(ip);
            }
        }
        self.counts_addresses.store(count, SeqCst);
    }

    /// The loop is about to wait for the end of a request. True if it has not been waiting yet: one
    /// may have ended unnoticed until now, so it is to look once more.
    #[must_use]
    pub(crate) fn await_end(&self) -> bool {
        !self.loop_waits.swap(true, SeqCst)
    }

    /// From now on `wait()` is false where nothing has arrived; those that are in it are told.
    pub(crate) fn begin_drain(&self) {
        self.set_draining();
        for (_, connection) in lock(&self.table).connections.iter() {
            connection.tell();
        }
    }

    /// From now on `wait()` is false where nothing has arrived.
    pub(crate) fn set_draining(&self) {
        self.draining.store(true, SeqCst);
    }

    /// The server goes on serving.
    pub(crate) fn end_drain(&self) {
        self.draining.store(false, SeqCst);
        for counter in [&self.drained.idle, &self.drained.ended, &self.drained.cut] {
            counter.store(0, SeqCst);
        }
    }

    /// Whether the server has been closed for so long that what has not begun need not begin.
    pub(crate) fn is_too_late(&self) -> bool {
        self.too_late.load(SeqCst)
    }

    /// Cuts off every connection of this process.
    pub(crate) fn cut_off(&self) {
        for (_, connection) in lock(&self.table).connections.iter() {
            connection.cut();
        }
    }

    /// Waits until no request runs in this process. At `deadline` it cuts off those that do, and after
    /// a further second it gives up: false.
    pub(crate) fn wait_for_end(&self, deadline: Option<Instant>) -> bool {
        self.waiters.fetch_add(1, SeqCst);
        let ended = self.wait_as_waiter(deadline);
        self.waiters.fetch_sub(1, SeqCst);
        ended
    }

    fn wait_as_waiter(&self, deadline: Option<Instant>) -> bool {
        if !self.wait_until(deadline) {
            self.too_late.store(true, SeqCst);
            self.cut_off();
            return self.wait_until(Some(Instant::now() + GRACE));
        }
        true
    }

    /// Waits until no request runs in this process; false if one still does at `deadline`.
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let mut table = lock(&self.table);
        while self.running.load(SeqCst) > 0 {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            table = self.wait_for_change(table, left);
        }
        true
    }

    fn wait_for_change<'a>(
        &self,
        table: MutexGuard<'a, Table>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Table> {
        match timeout {
            None => self
                .all_ended
                .wait(table)
                .unwrap_or_else(|e| e.into_inner()),
            Some(timeout) => {
                let woken = self.all_ended.wait_timeout(table, timeout);
                woken.unwrap_or_else(|e| e.into_inner()).0
            }
        }
    }

    pub(crate) fn report(&self) -> DrainReport {
        DrainReport {
            idle: self.drained.idle.load(SeqCst),
            ended: self.drained.ended.load(SeqCst),
            cut: self.drained.cut.load(SeqCst),
            running: self.count(),
        }
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let table = lock(&self.table);
        let mut statistics = self.statistics_of_ended();
        for (_, connection) in table.connections.iter() {
            statistics.idle += u64::from(connection.is_waiting());
            statistics.received += connection.traffic().received();
            statistics.sent += connection.traffic().sent();
        }
        statistics
    }

    /// The same without what only the table knows: of the idle, and of the bytes of the active ones.
    pub(crate) fn statistics_of_ended(&self) -> Statistics {
        let active = self.count() as u64;
        Statistics {
            active,
            ..self.counters.statistics()
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Counts how a request has ended.
    pub(crate) fn count_end(&self, end: End) {
        match end {
            End::Refused => self.counters.count_refused(),
            End::Was { outcome, idle } => {
                self.counters.count_ended(outcome);
                if self.is_draining() {
                    let counter = match outcome {
                        Outcome::Cut => &self.drained.cut,
                        _ if idle => &self.drained.idle,
                        _ => &self.drained.ended,
                    };
                    counter.fetch_add(1, SeqCst);
                }
            }
        }
    }

    /// A request of this process is over here, and its descriptor closed. True if the loop waits to
    /// be told.
    #[must_use]
    pub(crate) fn request_ended(&self) -> bool {
        // One who begins to wait after the load below sees the decremented count.
        if self.running.fetch_sub(1, SeqCst) == 1 && self.waiters.load(SeqCst) > 0 {
            drop(lock(&self.table));
            self.all_ended.notify_all();
        }
        self.does_loop_wait()
    }

    /// A forked child has been collected, or is left to itself. True if the loop waits to be told.
    #[must_use]
    pub(crate) fn child_ended(&self) -> bool {
        self.in_children.fetch_sub(1, SeqCst);
        self.does_loop_wait()
    }

    /// Whether the loop waits for the end of a request; it is asked by one that is going to wake it.
    fn does_loop_wait(&self) -> bool {
        self.loop_waits.load(SeqCst) && self.loop_waits.swap(false, SeqCst)
    }
}

impl Table {
    /// Counts a request from `ip`, if such are counted, and says how.
    fn count(&mut self, ip: Option<IpAddr>) -> Option<Counted> {
        let by_address = self.by_address.as_mut()?;
        *by_address.entry(ip?).or_default() += 1;
        self.counted(ip)
    }

    /// How a request from `ip` is counted, if such are.
    fn counted(&self, ip: Option<IpAddr>) -> Option<Counted> {
        self.by_address.as_ref()?;
        let counting = self.countings;
        ip.map(|ip| Counted { ip, counting })
    }

    fn discount(&mut self, ip: Option<IpAddr>) {
        let (Some(by_address), Some(ip)) = (&mut self.by_address, ip) else {
            return;
        };
        if let Some(count) = by_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&ip);
            }
        }
    }
}

/// How a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Refused,
    Was {
        outcome: Outcome,
        /// It was idle when the drain began.
        idle: bool,
    },
}
