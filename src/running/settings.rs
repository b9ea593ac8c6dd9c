//! The settings of a server, which may change while it runs.

use std::sync::Arc;
use std::time::Duration;

use crate::support::lock::lock;
use crate::support::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed,
};
use crate::support::sync::{Mutex, MutexGuard};
use crate::values::backlog::Backlog;
use crate::values::deadlines::Deadlines;
use crate::values::limits::Limits;
use crate::values::lingering::Lingering;

/// The default drain timeout.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The shortest service interval, so that the loop does not spin.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// No limit.
const UNLIMITED: usize = usize::MAX;

/// A turn without a bound.
const ENDLESS: u64 = u64::MAX;

/// The limits, deadlines and times of a server.
///
/// The values that every request reads are in atomics, beside the locked value from which they are
/// taken. All accesses are `Relaxed`: a change takes effect for the next request that sees it, and
/// orders nothing.
#[derive(Debug)]
pub(crate) struct Settings {
    limits: Mutex<Limits>,
    /// From this number of running requests on, further clients wait in the backlog.
    waits_from: AtomicUsize,
    /// If more than this number of requests run, the newest is refused.
    refuses_above: AtomicUsize,
    refuses_above_per_address: AtomicUsize,
    /// The turn in nanoseconds; [`ENDLESS`] is no bound.
    turn: AtomicU64,
    deadlines: Mutex<Deadlines>,
    has_deadlines: AtomicBool,
    /// The three numbers of [`Lingering`], which a forked child reads without a lock.
    lingering_nanoseconds: AtomicU64,
    lingering_bytes: AtomicU64,
    lingering_connections: AtomicUsize,
    /// The index of a [`Backlog`].
    backlog: AtomicU8,
    drain_timeout: Mutex<Option<Duration>>,
    timeout: Mutex<Option<Duration>>,
    service_interval: Mutex<Option<Duration>>,
}

impl Settings {
    pub(crate) fn new() -> Self {
        let settings = Self {
            limits: Mutex::default(),
            waits_from: AtomicUsize::new(UNLIMITED),
            refuses_above: AtomicUsize::new(UNLIMITED),
            refuses_above_per_address: AtomicUsize::new(UNLIMITED),
            turn: AtomicU64::new(ENDLESS),
            deadlines: Mutex::default(),
            has_deadlines: AtomicBool::new(false),
            lingering_nanoseconds: AtomicU64::new(0),
            lingering_bytes: AtomicU64::new(0),
            lingering_connections: AtomicUsize::new(0),
            backlog: AtomicU8::new(Backlog::Close as u8),
            drain_timeout: Mutex::new(Some(DRAIN_TIMEOUT)),
            timeout: Mutex::new(None),
            service_interval: Mutex::new(None),
        };
        settings.set_limits(Limits::default(), |_| {});
        settings.set_lingering(Lingering::default());
        settings
    }

    /// Makes a copy of the settings of the process that this process was forked from.
    pub(crate) fn after_fork(parent: &Self) -> Self {
        let settings = Self::new();
        settings.set_lingering(parent.lingering());
        settings.set_backlog(parent.backlog());
        // A lock that another thread held at the fork stays locked in this process. The setting
        // that the thread was about to change has its default here.
        if let Ok(limits) = parent.limits.try_lock() {
            settings.set_limits(limits.clone(), |_| {});
        }
        if let Ok(deadlines) = parent.deadlines.try_lock() {
            settings.set_deadlines(*deadlines);
        }
        if let Ok(timeout) = parent.drain_timeout.try_lock() {
            settings.set_drain_timeout(*timeout);
        }
        if let Ok(timeout) = parent.timeout.try_lock() {
            settings.set_timeout(*timeout);
        }
        if let Ok(interval) = parent.service_interval.try_lock() {
            settings.set_service_interval(*interval);
        }
        settings
    }

    pub(crate) fn limits(&self) -> Limits {
        lock(&self.limits).clone()
    }

    pub(crate) fn set_limits(&self, limits: Limits, count: impl FnOnce(&Limits)) {
        let mut current = lock(&self.limits);
        // `count` is called under the lock: if two threads set limits at once, one of them sets
        // both the limits and what is counted.
        count(&limits);
        let max = limits.max_connections().unwrap_or(UNLIMITED);
        let (waits_from, refuses_above) = match limits.refusal() {
            None => (max, UNLIMITED),
            Some(_) => (UNLIMITED, max),
        };
        let per_address = limits.max_connections_per_address().unwrap_or(UNLIMITED);
        self.waits_from.store(waits_from, Relaxed);
        self.refuses_above.store(refuses_above, Relaxed);
        self.refuses_above_per_address.store(per_address, Relaxed);
        let turn = limits.turn().map(|turn| turn.as_nanos());
        let turn = turn.and_then(|turn| u64::try_from(turn).ok());
        self.turn.store(turn.unwrap_or(ENDLESS), Relaxed);
        *current = limits;
    }

    /// Returns whether `running` requests have reached the limit, so that further clients wait.
    pub(crate) fn is_at_limit(&self, running: usize) -> bool {
        running >= self.waits_from.load(Relaxed)
    }

    /// Returns whether `running` requests are above the limit, so that the newest is refused.
    pub(crate) fn is_above_limit(&self, running: usize) -> bool {
        running > self.refuses_above.load(Relaxed)
    }

    /// Whether the number of requests from one address is bounded.
    pub(crate) fn limits_addresses(&self) -> bool {
        self.refuses_above_per_address.load(Relaxed) != UNLIMITED
    }

    /// Returns whether `running` requests of one address are above the limit.
    pub(crate) fn is_above_limit_per_address(&self, running: usize) -> bool {
        running > self.refuses_above_per_address.load(Relaxed)
    }

    /// Returns how long a connection may last while other clients wait for its place.
    pub(crate) fn turn(&self) -> Option<Duration> {
        match self.turn.load(Relaxed) {
            ENDLESS => None,
            turn => Some(Duration::from_nanos(turn)),
        }
    }

    /// Returns the message for refused clients.
    pub(crate) fn refusal(&self) -> Arc<[u8]> {
        lock(&self.limits).shared_refusal()
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        if self.has_deadlines.load(Relaxed) {
            *lock(&self.deadlines)
        } else {
            Deadlines::none()
        }
    }

    pub(crate) fn set_deadlines(&self, deadlines: Deadlines) {
        let mut current = lock(&self.deadlines);
        *current = deadlines;
        let any = deadlines != Deadlines::none();
        self.has_deadlines.store(any, Relaxed);
    }

    pub(crate) fn lingering(&self) -> Lingering {
        let timeout = Duration::from_nanos(self.lingering_nanoseconds.load(Relaxed));
        Lingering::default()
            .with_timeout(timeout)
            .with_max_bytes(self.lingering_bytes.load(Relaxed))
            .with_max_connections(self.lingering_connections.load(Relaxed))
    }

    pub(crate) fn set_lingering(&self, lingering: Lingering) {
        let nanoseconds = u64::try_from(lingering.timeout().as_nanos()).unwrap_or(u64::MAX);
        self.lingering_nanoseconds.store(nanoseconds, Relaxed);
        self.lingering_bytes.store(lingering.max_bytes(), Relaxed);
        let connections = lingering.max_connections();
        self.lingering_connections.store(connections, Relaxed);
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog::ALL[usize::from(self.backlog.load(Relaxed))]
    }

    pub(crate) fn set_backlog(&self, backlog: Backlog) {
        self.backlog.store(backlog as u8, Relaxed);
    }

    pub(crate) fn drain_timeout(&self) -> Option<Duration> {
        *lock(&self.drain_timeout)
    }

    pub(crate) fn set_drain_timeout(&self, timeout: Option<Duration>) {
        *lock(&self.drain_timeout) = timeout;
    }

    /// Returns how long `handle_request` waits; `None` if the layers decide.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        *lock(&self.timeout)
    }

    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) {
        *lock(&self.timeout) = timeout;
    }

    pub(crate) fn service_interval(&self) -> Option<Duration> {
        *lock(&self.service_interval)
    }

    pub(crate) fn set_service_interval(&self, interval: Option<Duration>) {
        let interval = interval.map(|interval| interval.max(SHORTEST_INTERVAL));
        *lock(&self.service_interval) = interval;
    }

    /// Locks the settings that a forked child may read: no other thread holds these locks at the
    /// fork, so the child can take them.
    pub(crate) fn hold(&self) -> HeldSettings<'_> {
        (
            lock(&self.limits),
            lock(&self.deadlines),
            lock(&self.drain_timeout),
            lock(&self.service_interval),
        )
    }
}

/// The locks of the settings, held over a fork.
pub(crate) type HeldSettings<'a> = (
    MutexGuard<'a, Limits>,
    MutexGuard<'a, Deadlines>,
    MutexGuard<'a, Option<Duration>>,
    MutexGuard<'a, Option<Duration>>,
);
