//! The state that a server's layers, its handlers and other threads share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::ThreadId;

use crate::running::acceptor::Acceptor;
use crate::running::dropped::DroppedDatagrams;
use crate::running::ended::EndedHandshake;
use crate::running::events::Events;
use crate::running::floods::Floods;
use crate::running::in_process::InProcess;
use crate::running::lifecycle::Lifecycle;
use crate::running::parent_link::{ForkedChild, ParentLink};
use crate::running::places::Places;
use crate::running::refusals::Refusals;
use crate::running::request_table::{GRACE, RequestTable};
use crate::running::settings::Settings;
use crate::running::stoppers::Stoppers;
use crate::running::thread_name::thread_name;
use crate::running::unparks::Unparks;
use crate::support::deadline::Deadline;
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::support::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::transport::connection::Connection;
use crate::transport::lingering_connection::LingeringConnection;
use crate::transport::per_process::PerProcess;
use crate::transport::waker::Waker;
use crate::values::address::Address;
use crate::values::backlog::Backlog;
use crate::values::deadlines::Deadlines;
use crate::values::drain_report::DrainReport;
use crate::values::limits::Limits;
use crate::values::request_event::RequestEvent;
use crate::values::statistics::Statistics;

/// The state of a server, behind its handles.
///
/// A forked child waits for no lock of its parent: a thread that held the lock at the fork does not
/// exist in the child. So addresses are in cells that are set once, and a child uses neither the
/// phase of the lifecycle nor the table. A process that the program itself forks has its own phase
/// and table.
#[derive(Debug)]
pub(crate) struct Shared {
    requested_address: OnceLock<Address>,
    /// The list has at least one address.
    bound_addresses: OnceLock<Vec<Address>>,
    /// The sockets at these addresses. The references are weak, so that the server can close the
    /// sockets.
    listening: OnceLock<Vec<Weak<OwnedFd>>>,
    /// Whether the listening sockets are datagram sockets. Relaxed: the flag is set before the
    /// server is shared.
    serves_datagrams: AtomicBool,
    /// Whether the listening socket is readable as long as `get_request` has another request. This
    /// is false if a layer receives requests ahead. Relaxed: a thread reads the flag after its call
    /// of `get_request`, and two threads never call that hook at the same time.
    socket_reports_all: AtomicBool,
    /// Whether a layer has called `note_start_times`. Relaxed: the flag is set before the server is
    /// shared.
    notes_start_times: AtomicBool,
    dropped: DroppedDatagrams,
    /// The state that each process of the program has for itself.
    processes: PerProcess<InProcess>,
    /// The receiver of events: the layers.
    events: OnceLock<Box<dyn Events>>,
    /// The mix-in that accepts in the loop's place.
    acceptor: Mutex<Option<Arc<dyn Acceptor>>>,
    /// The reactor of this process, which has parked connections.
    unparks: Mutex<Option<Arc<dyn Unparks>>>,
    /// `Some` in a forked child only.
    child: OnceLock<ForkedChild>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let processes = PerProcess::new();
        processes.get_or_init(|_| InProcess::new());
        Self {
            requested_address: OnceLock::new(),
            bound_addresses: OnceLock::new(),
            listening: OnceLock::new(),
            serves_datagrams: AtomicBool::new(false),
            socket_reports_all: AtomicBool::new(false),
            notes_start_times: AtomicBool::new(false),
            dropped: DroppedDatagrams::default(),
            processes,
            events: OnceLock::new(),
            acceptor: Mutex::new(None),
            unparks: Mutex::new(None),
            child: OnceLock::new(),
        }
    }

    /// Returns the state in this process. A child of [`ForkingMixIn`](crate::ForkingMixIn) has its
    /// parent's state, as it was at the fork; any other forked process has its own.
    #[inline]
    fn here(&self) -> &InProcess {
        if let Some(state) = self.processes.get() {
            return state;
        }
        self.here_first()
    }

    /// Does the same in a process that has no state of its own yet.
    #[cold]
    fn here_first(&self) -> &InProcess {
        if self.is_forked_child()
            && let Some(state) = self.processes.get_or_inherited()
        {
            return state;
        }
        self.processes.get_or_init(|parent| match parent {
            Some(parent) => InProcess::after_fork(parent),
            None => InProcess::new(),
        })
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.here().lifecycle
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.here().settings
    }

    pub(crate) fn requests(&self) -> &RequestTable {
        &self.here().requests
    }

    /// Closes the connection of an ended request, whose writing side has ended. The close is
    /// immediate, unless the client may still send and the close could destroy the answer: then the
    /// connection lingers first. In a forked child, which has nothing else to do, the call waits
    /// meanwhile.
    pub(crate) fn close_lingering(&self, connection: Arc<Connection>, in_any_case: bool) {
        let bounds = self.settings().lingering();
        let Some(lingering) = LingeringConnection::new(connection, &bounds, in_any_case) else {
            return;
        };
        if self.is_forked_child() {
            return lingering.linger_here();
        }
        self.here()
            .lingering
            .add(lingering, bounds.max_connections(), || {
                let address = self.server_address().unwrap_or(&Address::UnixUnnamed);
                thread_name(address, None, "close")
            });
    }

    /// Waits for the lingering connections, at most until the deadline of the close.
    pub(crate) fn wait_for_lingering(&self) {
        self.here()
            .lingering
            .close(self.lifecycle().close_deadline());
    }

    /// Returns the numbers of the drain.
    pub(crate) fn drain_report(&self) -> DrainReport {
        DrainReport {
            lingered: self.here().lingering.count_in_drain(),
            ..self.requests().drain_report()
        }
    }

    pub(crate) fn floods(&self) -> &Floods {
        &self.here().floods
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.here().refusals
    }

    pub(crate) fn stoppers(&self) -> &Stoppers {
        &self.here().stoppers
    }

    pub(crate) fn places(&self) -> &Places {
        &self.here().places
    }

    /// Returns whether a client waits for a place that the request of this thread has, or the
    /// server stops.
    pub(crate) fn has_waiting_client(&self) -> bool {
        if self.lifecycle().is_draining() {
            return true;
        }
        if self.is_forked_child() {
            // The parent can see the clients, and begins the drain of this child.
            return false;
        }
        // A server without a mix-in serves the request in the thread of its loop.
        self.places().have_queue()
            || (self.places().are_full() || self.lifecycle().is_loop_of(this_thread()))
                && self.has_client_at_socket()
    }

    /// Whether a client waits to be accepted.
    pub(crate) fn has_client_at_socket(&self) -> bool {
        let events = self.events.get();
        events.is_some_and(|events| events.has_client_at_socket())
    }

    /// Returns the first bound address; before bind(2), the requested address.
    pub(crate) fn server_address(&self) -> Option<&Address> {
        self.server_addresses().first()
    }

    /// Returns the bound addresses; before bind(2), the requested address.
    pub(crate) fn server_addresses(&self) -> &[Address] {
        match (self.bound_addresses.get(), self.requested_address.get()) {
            (Some(bound), _) => bound,
            (None, Some(requested)) => std::slice::from_ref(requested),
            (None, None) => &[],
        }
    }

    pub(crate) fn set_requested_address(&self, address: Address) {
        let _ = self.requested_address.set(address);
    }

    pub(crate) fn set_server_addresses(&self, addresses: Vec<Address>) {
        let _ = self.bound_addresses.set(addresses);
    }

    pub(crate) fn set_listening_sockets(&self, sockets: Vec<Weak<OwnedFd>>) {
        let _ = self.listening.set(sockets);
    }

    pub(crate) fn listening_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self.listening.get().into_iter().flatten();
        let open = sockets.filter_map(Weak::upgrade);
        open.map(|socket| socket.try_clone()).collect()
    }

    pub(crate) fn note_datagrams(&self) {
        self.serves_datagrams.store(true, Relaxed);
    }

    pub(crate) fn serves_datagrams(&self) -> bool {
        self.serves_datagrams.load(Relaxed)
    }

    pub(crate) fn set_socket_reports_all(&self, reports_all: bool) {
        self.socket_reports_all.store(reports_all, Relaxed);
    }

    /// Returns whether the caller of `get_request` may wait for the socket before it asks for
    /// another request. False for a user's own bottom layer, which may have received several.
    pub(crate) fn socket_reports_all(&self) -> bool {
        self.socket_reports_all.load(Relaxed)
    }

    pub(crate) fn note_start_times(&self) {
        self.notes_start_times.store(true, Relaxed);
    }

    pub(crate) fn notes_start_times(&self) -> bool {
        self.notes_start_times.load(Relaxed)
    }

    /// Returns the loop's waker, which the first call makes.
    pub(crate) fn waker(&self) -> io::Result<&Waker> {
        self.here().waker()
    }

    /// Wakes the loop, which reads its state again.
    pub(crate) fn wake(&self) {
        // If there is no waker, this call makes one, since the loop of a forked process may be
        // about to wait. If the system has no descriptor for a waker, the loop fails as well.
        if let Ok(waker) = self.waker() {
            waker.wake();
        }
    }

    /// Requests a stop of the present or the next loop, and interrupts idle requests. Returns how
    /// many loops have ended so far. In a forked child, requests a stop of the parent's loop.
    pub(crate) fn request_stop(&self) -> u64 {
        if self.is_forked_child() {
            if let Some(waker) = self.here().made_waker() {
                waker.stop();
            }
            return 0;
        }
        self.stoppers().add_this_thread();
        lock(&self.here().stop_deadline).get_or_insert_with(|| self.drain_deadline());
        let loops = self
            .lifecycle()
            .request_stop(|| self.requests().interrupt_idle());
        self.here().lingering.begin_drain();
        self.wake();
        loops
    }

    /// Begins the close of the server: interrupts idle requests, and sets the deadline of the
    /// others.
    pub(crate) fn begin_close(&self) {
        // The backlog has used a part of the time.
        let deadline = match self.settings().backlog() {
            Backlog::Close => self.drain_deadline(),
            _ => self.drain_deadline().sooner(self.stop_deadline()),
        };
        self.lifecycle().begin_close(deadline);
        self.here().lingering.begin_drain();
        self.requests().interrupt_idle();
    }

    /// Returns the deadline of the drain that the stop request has begun.
    pub(crate) fn stop_deadline(&self) -> Deadline {
        lock(&self.here().stop_deadline).unwrap_or(Deadline::NEVER)
    }

    /// Returns the deadline of a drain that begins now.
    pub(crate) fn drain_deadline(&self) -> Deadline {
        Deadline::after(self.settings().drain_timeout())
    }

    /// Waits until no request runs in this process. Aborts running requests at the deadline of the
    /// close, and returns false if one still runs a second later.
    pub(crate) fn wait_for_requests(&self) -> bool {
        let deadline = self.lifecycle().close_deadline();
        if self.requests().count().wait_for_none(deadline) {
            return true;
        }
        self.lifecycle().set_overdue();
        self.requests().abort();
        self.requests().wait_for_aborted()
    }

    /// Waits, at most [`GRACE`], for the requests whose handlers have stopped the server.
    pub(crate) fn wait_for_stoppers(&self) {
        let deadline = self.lifecycle().close_deadline();
        self.stoppers()
            .wait(deadline.sooner(Deadline::after(Some(GRACE))));
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        if self.is_forked_child() {
            return;
        }
        let requests = self.requests();
        self.settings().set_limits(limits, |limits| {
            match limits.max_connections_per_address() {
                Some(_) => requests.count_addresses(limits.ipv6_prefix()),
                None => requests.ignore_addresses(),
            }
        });
        self.wake();
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.settings().deadlines()
    }

    pub(crate) fn statistics(&self) -> Statistics {
        if self.is_forked_child() {
            // The child may have closed its copies of the sockets.
            self.requests().statistics_without_connections()
        } else {
            Statistics {
                dropped: self.dropped.count(),
                ..self.requests().statistics()
            }
        }
    }

    /// Returns the count of the datagrams that the kernel has dropped.
    pub(crate) fn dropped(&self) -> &DroppedDatagrams {
        &self.dropped
    }

    /// Returns whether a bottom layer may receive more requests than the loop asks for. True in
    /// `serve_forever` alone: a program that calls `handle_request` may poll the socket itself.
    pub(crate) fn may_receive_ahead(&self) -> bool {
        self.here().may_receive_ahead()
    }

    /// Makes the loop look for ended children from time to time, since the end of a child does not
    /// wake it.
    pub(crate) fn look_for_children(&self) {
        self.here().set_looks_for_children();
    }

    /// Returns whether children run whose end may not wake the loop.
    pub(crate) fn looks_for_children(&self) -> bool {
        self.here().looks_for_children() && self.requests().count().has_children()
    }

    /// Sets or removes the mix-in that accepts in the loop's place.
    pub(crate) fn set_acceptor(&self, acceptor: Option<Arc<dyn Acceptor>>) {
        *lock(&self.acceptor) = acceptor;
    }

    /// Returns the mix-in that accepts in the loop's place, if there is one.
    pub(crate) fn acceptor(&self) -> Option<Arc<dyn Acceptor>> {
        lock(&self.acceptor).clone()
    }

    /// Sets the reactor of this process.
    pub(crate) fn set_unparks(&self, reactor: Arc<dyn Unparks>) {
        *lock(&self.unparks) = Some(reactor);
    }

    /// Returns the reactor of this process, if it has one.
    pub(crate) fn unparks(&self) -> Option<Arc<dyn Unparks>> {
        lock(&self.unparks).clone()
    }

    /// Sets the layers that events are emitted to. Only the first call has an effect.
    pub(crate) fn set_events(&self, events: Box<dyn Events>) {
        let _ = self.events.set(events);
    }

    /// Emits an event, for a caller that has no reference to the outermost layer. Does nothing in a
    /// forked child, whose parent emits the events.
    pub(crate) fn emit(&self, client: &Address, event: &RequestEvent) {
        if self.is_forked_child() {
            return;
        }
        if let Some(events) = self.events.get() {
            events.emit(client, event);
        }
    }

    /// Emits the event of a handshake; in a forked child, reports the handshake to the parent,
    /// which emits the event.
    pub(crate) fn emit_handshake(&self, client: &Address, handshake: &EndedHandshake) {
        match self.child() {
            Some(child) => child.report_handshake(handshake),
            None => self.emit(client, &handshake.event()),
        }
    }

    /// Marks this process as a forked child. A forked child has one request, no loop and no other
    /// threads.
    pub(crate) fn enter_child(&self, parent: Arc<dyn ParentLink>) {
        let _ = self.child.set(ForkedChild::new(parent));
    }

    pub(crate) fn child(&self) -> Option<&ForkedChild> {
        self.child.get()
    }

    pub(crate) fn is_forked_child(&self) -> bool {
        self.child.get().is_some()
    }

    /// Enters the loop in the calling thread. Returns `None` if a stop was requested before, and
    /// `Err` if a loop runs already.
    pub(crate) fn begin_loop(&self) -> Result<Option<LoopGuard<'_>>, AlreadyServing> {
        let here = self.here();
        let reset = || {
            here.requests.reset_drain_report();
            here.lingering.end_drain();
            *lock(&here.stop_deadline) = None;
        };
        match here.lifecycle.begin_loop(this_thread(), reset) {
            None => Err(AlreadyServing),
            Some(false) => Ok(None),
            Some(true) => Ok(Some(LoopGuard { shared: self, here })),
        }
    }
}

/// A loop runs already, in this thread or another.
#[derive(Debug)]
pub(crate) struct AlreadyServing;

/// A thread is in the loop as long as it owns this guard.
#[derive(Debug)]
pub(crate) struct LoopGuard<'a> {
    shared: &'a Shared,
    here: &'a InProcess,
}

impl LoopGuard<'_> {
    pub(crate) fn is_stop_requested(&self) -> bool {
        self.here.lifecycle.is_draining()
    }

    /// Lets bottom layers receive more requests than the loop asks for, until the loop ends.
    pub(crate) fn receive_ahead(&self) {
        self.here.set_receives_ahead(true);
    }

    /// Drains the waker, and carries out the stop that a forked child has requested.
    pub(crate) fn drain_waker(&self) {
        if let Some(waker) = self.here.made_waker()
            && waker.drain()
        {
            self.shared.request_stop();
        }
    }
}

impl Drop for LoopGuard<'_> {
    fn drop(&mut self) {
        self.here.set_receives_ahead(false);
        self.here.lifecycle.end_loop();
    }
}

pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}
