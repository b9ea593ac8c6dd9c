//! The table of running requests, by which a stopping server tells idle clients, waits for busy
//! ones and cuts off the rest.

use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use slab::Slab;
use socket2::Socket;

use crate::lock::lock;
use crate::server_handle::ServerHandle;

/// How long requests that were cut off may take to notice, before they are given up as running.
const GRACE: Duration = Duration::from_secs(1);

/// How the requests ended that were running when a server was shut down or closed, whichever came
/// first.
///
/// ```
/// # use socketserver::DrainReport;
/// let report = DrainReport::default();
/// assert_eq!(report.to_string(), "requests ended: 0, cut off: 0, still running: 0");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Requests, or forked children, that ended by themselves.
    pub ended: usize,
    /// Requests whose connection was shut down, or children that were killed, at the deadline.
    pub cut: usize,
    /// Requests and children that were not waited for (`daemon_threads`, `block_on_close(false)`), or
    /// that went
    /// on for more than a second after they were cut off because they neither read nor write.
    pub running: usize,
}

impl std::fmt::Display for DrainReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            ended,
            cut,
            running,
        } = self;
        write!(
            f,
            "requests ended: {ended}, cut off: {cut}, still running: {running}"
        )
    }
}

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

    /// From now on `wait()` is false where nothing has arrived; those that are in it are told.
    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, SeqCst);
        for (_, connection) in lock(&self.connections).iter() {
            connection.tell();
        }
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
    fn request_ended(&self, how: End) {
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
enum End {
    ByItself,
    Cut,
    /// The child is counted instead, when it is collected.
    GoesOnInChild,
}

/// A connection as the table and the request share it: the socket, and what the handler does.
#[derive(Debug)]
pub(crate) struct Connection {
    /// None for a connection without a network.
    socket: Option<Socket>,
    state: AtomicU8,
}

/// The handler works, or reads the rest of something.
const BUSY: u8 = 0;
/// The handler is in `wait()` with nothing to do.
const WAITING: u8 = 1;
/// It was in `wait()` when the drain began, and its socket gives no more.
const TOLD: u8 = 2;
/// It was running at the drain's deadline, and its socket takes and gives no more.
const CUT: u8 = 3;

impl Connection {
    pub(crate) fn new(socket: Option<Socket>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            state: AtomicU8::new(BUSY),
        })
    }

    /// The socket, for the stream that reads and writes it.
    ///
    /// # Panics
    ///
    /// If the connection has no network, and so no such stream.
    pub(crate) fn socket(&self) -> &Socket {
        self.socket
            .as_ref()
            .expect("only a connection over a socket is read through one")
    }

    /// Ends a `wait()` that is under way. Calls nothing that a signal handler may not.
    pub(crate) fn tell(&self) {
        if self
            .state
            .compare_exchange(WAITING, TOLD, SeqCst, SeqCst)
            .is_ok()
        {
            self.shut_down(Shutdown::Read);
        }
    }

    fn cut(&self) {
        self.state.store(CUT, SeqCst);
        self.shut_down(Shutdown::Both);
    }

    fn shut_down(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            // It fails when the client has left already, which ends the read as well.
            let _ = socket.shutdown(how);
        }
    }

    /// The server, not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.state.load(SeqCst) >= TOLD
    }
}

/// A request's place among the running ones of its server; the request has ended when it is
/// dropped.
///
/// A bottom layer gets one from [`ServerHandle::begin_request`] for every request, and keeps it in
/// the request. So the server knows what runs, whichever mix-in runs it.
#[derive(Debug)]
pub struct ActiveRequest {
    server: ServerHandle,
    connection: Option<Arc<Connection>>,
    key: Option<usize>,
    goes_on_in_child: AtomicBool,
}

impl ActiveRequest {
    pub(crate) fn begin(server: ServerHandle, connection: Option<Arc<Connection>>) -> Self {
        let active = server.active();
        active.running.fetch_add(1, SeqCst);
        let key = connection
            .clone()
            .map(|connection| lock(&active.connections).insert(connection));
        Self {
            server,
            connection,
            key,
            goes_on_in_child: AtomicBool::new(false),
        }
    }

    /// A forked child serves the request from now on; this process only drops its copy.
    pub(crate) fn go_on_in_child(&self) {
        self.goes_on_in_child.store(true, SeqCst);
    }

    /// The server that runs the request.
    #[must_use]
    pub fn server(&self) -> &ServerHandle {
        &self.server
    }

    /// The handler is about to wait for the client's next message. False if the server is draining.
    pub(crate) fn begin_wait(&self) -> bool {
        if let Some(connection) = &self.connection {
            let _ = connection
                .state
                .compare_exchange(BUSY, WAITING, SeqCst, SeqCst);
        }
        // After the store above: either the drain sees the state, or we see the drain.
        let wait = !self.server.is_draining();
        if !wait {
            self.end_wait();
        }
        wait
    }

    /// The wait is over, with a message or without.
    pub(crate) fn end_wait(&self) {
        if let Some(connection) = &self.connection {
            let _ = connection
                .state
                .compare_exchange(WAITING, BUSY, SeqCst, SeqCst);
        }
    }

    /// The server, not the client, ended the whole connection.
    pub(crate) fn is_cut(&self) -> bool {
        let is_cut = |connection: &Arc<Connection>| connection.state.load(SeqCst) == CUT;
        self.connection.as_ref().is_some_and(is_cut)
    }

    /// The server, not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(|connection| connection.is_interrupted())
    }

    /// What a signal handler needs to tell this request of a drain.
    pub(crate) fn drain_notice(&self) -> DrainNotice {
        DrainNotice {
            server: self.server.clone(),
            connection: self.connection.clone(),
        }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.server.is_forked_child() {
            // The table is the parent's, and its lock may be held there by a thread that this
            // process does not have.
            return;
        }
        let active = self.server.active();
        if let Some(key) = self.key {
            lock(&active.connections).remove(key);
        }
        let was_cut = self.is_cut();
        // The descriptor is closed before the request counts as ended.
        self.connection = None;
        active.request_ended(match was_cut {
            _ if *self.goes_on_in_child.get_mut() => End::GoesOnInChild,
            true => End::Cut,
            false => End::ByItself,
        });
    }
}

/// Tells one request that the server is draining, from within a signal handler.
#[derive(Debug)]
pub(crate) struct DrainNotice {
    server: ServerHandle,
    connection: Option<Arc<Connection>>,
}

impl DrainNotice {
    /// Touches atomics and calls shutdown(2), nothing else.
    pub(crate) fn tell(&self) {
        self.server.active().draining.store(true, SeqCst);
        if let Some(connection) = &self.connection {
            connection.tell();
        }
    }
}
