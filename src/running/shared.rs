//! What a server's layers, its handlers and other threads share.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;

use crate::running::events::Events;
use crate::running::lifecycle::Lifecycle;
use crate::running::parent_link::{ForkedChild, ParentLink};
use crate::running::request_table::RequestTable;
use crate::running::settings::Settings;
use crate::support::deadline::Deadline;
use crate::support::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::transport::waker::Waker;
use crate::values::address::Address;
use crate::values::deadlines::Deadlines;
use crate::values::limits::Limits;
use crate::values::request_event::RequestEvent;
use crate::values::statistics::Statistics;

/// A running server, behind the handles.
///
/// A forked child waits for no lock of its parent, since a thread may have held the lock at the
/// fork that the child does not have. So addresses are in cells that are set once, and a child
/// touches neither the phase of the lifecycle nor the table.
#[derive(Debug)]
pub(crate) struct Shared {
    requested_address: OnceLock<Address>,
    bound_address: OnceLock<Address>,
    waker: OnceLock<Waker>,
    lifecycle: Lifecycle,
    settings: Settings,
    requests: RequestTable,
    /// The loop is in `serve_forever`. Relaxed: its own thread sets and reads it.
    receives_ahead: AtomicBool,
    /// The layers, as long as they live.
    events: OnceLock<Box<dyn Events>>,
    /// Set in a forked child, and nowhere else.
    child: OnceLock<ForkedChild>,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            requested_address: OnceLock::new(),
            bound_address: OnceLock::new(),
            waker: OnceLock::new(),
            lifecycle: Lifecycle::new(),
            settings: Settings::new(),
            requests: RequestTable::new(),
            receives_ahead: AtomicBool::new(false),
            events: OnceLock::new(),
            child: OnceLock::new(),
        }
    }

    pub(crate) fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn requests(&self) -> &RequestTable {
        &self.requests
    }

    /// The bound address; before bind the requested one.
    pub(crate) fn server_address(&self) -> Option<&Address> {
        let bound = self.bound_address.get();
        bound.or_else(|| self.requested_address.get())
    }

    pub(crate) fn set_requested_address(&self, address: Address) {
        let _ = self.requested_address.set(address);
    }

    pub(crate) fn set_server_address(&self, address: Address) {
        let _ = self.bound_address.set(address);
    }

    /// What wakes the loop, made by the first call.
    pub(crate) fn waker(&self) -> io::Result<&Waker> {
        if self.waker.get().is_none() {
            let waker = Waker::new()?;
            // Of two threads at once, the first one's waker stays.
            let _ = self.waker.set(waker);
        }
        Ok(self.waker.get().expect("it was set above"))
    }

    /// Makes the loop look at its state again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// Stops the loop, or the next one, and interrupts idle requests. Returns how many loops have
    /// ended so far. In a forked child it stops the parent's loop.
    pub(crate) fn request_stop(&self) -> u64 {
        if self.is_forked_child() {
            if let Some(waker) = self.waker.get() {
                waker.stop();
            }
            return 0;
        }
        let loops = self.lifecycle.request_stop();
        self.requests.interrupt_idle();
        self.wake();
        loops
    }

    /// The server is being closed: idle requests are interrupted, and the time of the others
    /// begins.
    pub(crate) fn begin_close(&self) {
        self.lifecycle.begin_close(self.drain_deadline());
        self.requests.interrupt_idle();
    }

    /// The end of a drain that begins now.
    pub(crate) fn drain_deadline(&self) -> Deadline {
        Deadline::after(self.settings.drain_timeout())
    }

    /// Waits until no request runs in this process. At the deadline of the close it aborts those
    /// that run, and returns false if one still runs after a further second.
    pub(crate) fn wait_for_requests(&self) -> bool {
        let deadline = self.lifecycle.close_deadline();
        if self.requests.count().wait_for_none(deadline) {
            return true;
        }
        self.lifecycle.set_overdue();
        self.requests.abort();
        self.requests.wait_for_aborted()
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        if self.is_forked_child() {
            return;
        }
        match limits.max_connections_per_address() {
            Some(_) => self.requests.count_addresses(),
            None => self.requests.ignore_addresses(),
        }
        self.settings.set_limits(limits);
        self.wake();
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        self.settings.deadlines()
    }

    pub(crate) fn statistics(&self) -> Statistics {
        if self.is_forked_child() {
            self.requests.statistics_without_connections()
        } else {
            self.requests.statistics()
        }
    }

    /// Whether a bottom layer may receive more requests than the loop asks for: only in
    /// `serve_forever`. A program with a loop of its own polls the socket by itself.
    pub(crate) fn may_receive_ahead(&self) -> bool {
        self.receives_ahead.load(Relaxed)
    }

    /// The layers that events are emitted to; only the first call has an effect.
    pub(crate) fn set_events(&self, events: Box<dyn Events>) {
        let _ = self.events.set(events);
    }

    /// Emits an event to the layers, unless the caller has the outermost layer at hand. In a forked
    /// child it emits nothing: the parent does.
    pub(crate) fn emit(&self, client: &Address, event: &RequestEvent) {
        if self.is_forked_child() {
            return;
        }
        if let Some(events) = self.events.get() {
            events.emit(client, event);
        }
    }

    /// This process is a forked child, which has one request and neither loop nor other threads.
    pub(crate) fn enter_child(&self, parent: Arc<dyn ParentLink>) {
        let _ = self.child.set(ForkedChild::new(parent));
    }

    pub(crate) fn child(&self) -> Option<&ForkedChild> {
        self.child.get()
    }

    pub(crate) fn is_forked_child(&self) -> bool {
        self.child.get().is_some()
    }

    /// The calling thread enters the loop. Returns `None` if the server was stopped before, and
    /// `Err` if another thread is in the loop.
    pub(crate) fn begin_loop(&self) -> Result<Option<LoopGuard<'_>>, AlreadyServing> {
        match self.lifecycle.begin_loop(this_thread()) {
            None => Err(AlreadyServing),
            Some(false) => Ok(None),
            Some(true) => {
                self.requests.reset_drain_report();
                Ok(Some(LoopGuard { shared: self }))
            }
        }
    }
}

/// Another thread is in the loop.
#[derive(Debug)]
pub(crate) struct AlreadyServing;

/// The time that a thread spends in the loop.
#[derive(Debug)]
pub(crate) struct LoopGuard<'a> {
    shared: &'a Shared,
}

impl LoopGuard<'_> {
    pub(crate) fn is_stop_requested(&self) -> bool {
        self.shared.lifecycle.is_draining()
    }

    /// Lets bottom layers receive more requests than the loop asks for, until the loop ends.
    pub(crate) fn receive_ahead(&self) {
        self.shared.receives_ahead.store(true, Relaxed);
    }

    /// Takes the waker's bytes, and carries out the stop that a forked child has requested.
    pub(crate) fn drain_waker(&self) {
        if let Some(waker) = self.shared.waker.get()
            && waker.drain()
        {
            self.shared.request_stop();
        }
    }
}

impl Drop for LoopGuard<'_> {
    fn drop(&mut self) {
        self.shared.receives_ahead.store(false, Relaxed);
        self.shared.lifecycle.end_loop();
    }
}

pub(crate) fn this_thread() -> ThreadId {
    std::thread::current().id()
}
