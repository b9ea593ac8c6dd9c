//! The table of running requests, by which a stopping server tells idle clients, waits for busy
//! ones and cuts off the rest.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::connection::Connection;
use crate::drain_report::DrainReport;
use crate::lock::lock;

/// How long requests that were cut off may take to notice, before they are given up as running.
const GRACE: Duration = Duration::from_secs(1);

/// Every request that has been got and not yet closed.
#[derive(Debug, Default)]
pub(crate) struct ActiveRequests {
    draining: AtomicBool,
    running: AtomicUsize,
    ended: AtomicUsize,
    cut: AtomicUsize,
    /// Forked children that were not waited for.
    children_left: AtomicUsize,
    /// Threads that wait for the end of all requests.
    waiters: AtomicUsize,
    connections: Mutex<Slab<Arc<Connection>>>,
    all_ended: Condvar,
}

impl ActiveRequests {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(SeqCst)
    }

    /// Requests that run now.
    pub(crate) fn count(&self) -> usize {
        self.running.load(SeqCst)
    }

    /// Enters a request; the key is its connection's, if it has one.
    pub(crate) fn enter(&self, connection: Option<Arc<Connection>>) -> Option<usize> {
        self.running.fetch_add(1, SeqCst);
        connection.map(|connection| lock(&self.connections).insert(connection))
    }

    /// Takes a connection out of the table.
    pub(crate) fn forget(&self, key: Option<usize>) {
        if let Some(key) = key {
            lock(&self.connections).remove(key);
        }
    }

    /// From now on `wait()` is false where nothing has arrived; those that are in it are told.
    pub(crate) fn begin_drain(&self) {
        self.set_draining();
        for (_, connection) in lock(&self.connections).iter() {
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
        self.ended.store(0, SeqCst);
        self.cut.store(0, SeqCst);
    }

    /// Waits until no request runs. At `deadline` it cuts off those that do, and after a further
    /// second it gives up: false.
    pub(crate) fn wait_for_end(&self, deadline: Option<Instant>) -> bool {
        self.waiters.fetch_add(1, SeqCst);
        let ended = self.wait_as_waiter(deadline);
        self.waiters.fetch_sub(1, SeqCst);
        ended
    }

    fn wait_as_waiter(&self, deadline: Option<Instant>) -> bool {
        let mut give_up = None;
        let mut connections = lock(&self.connections);
        while self.count() > 0 {
            let now = Instant::now();
            connections = match give_up.or(deadline) {
                None => self
                    .all_ended
                    .wait(connections)
                    .unwrap_or_else(|e| e.into_inner()),
                Some(until) if now < until => {
                    let left = until - now;
                    let woken = self.all_ended.wait_timeout(connections, left);
                    woken.unwrap_or_else(|e| e.into_inner()).0
                }
                Some(_) if give_up.is_some() => return false,
                Some(_) => {
                    for (_, connection) in connections.iter() {
                        connection.cut();
                    }
                    give_up = Some(now + GRACE);
                    connections
                }
            };
        }
        true
    }

    /// Counts what became of requests outside of this process.
    pub(crate) fn count_children(&self, ended: usize, cut: usize) {
        self.ended.fetch_add(ended, SeqCst);
        self.cut.fetch_add(cut, SeqCst);
    }

    /// Forked children that go on by themselves.
    pub(crate) fn leave_children(&self, count: usize) {
        self.children_left.store(count, SeqCst);
    }

    pub(crate) fn report(&self) -> DrainReport {
        DrainReport {
            ended: self.ended.load(SeqCst),
            cut: self.cut.load(SeqCst),
            running: self.count() + self.children_left.load(SeqCst),
        }
    }

    /// A request is over, and its descriptor closed.
    pub(crate) fn request_ended(&self, how: End) {
        if self.is_draining() {
            match how {
                End::ByItself => self.ended.fetch_add(1, SeqCst),
                End::Cut => self.cut.fetch_add(1, SeqCst),
                End::GoesOnInChild => 0,
            };
        }
        // One who begins to wait after the load below sees the decremented count.
        if self.running.fetch_sub(1, SeqCst) == 1 && self.waiters.load(SeqCst) > 0 {
            drop(lock(&self.connections));
            self.all_ended.notify_all();
        }
    }
}

/// Why a request is no longer among the running ones of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    ByItself,
    Cut,
    /// The child is counted instead, when it is collected.
    GoesOnInChild,
}
