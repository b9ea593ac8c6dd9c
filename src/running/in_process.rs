//! The state of a server in one process.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::running::floods::Floods;
use crate::running::lifecycle::Lifecycle;
use crate::running::lingering_connections::LingeringConnections;
use crate::running::places::Places;
use crate::running::refusals::Refusals;
use crate::running::request_table::RequestTable;
use crate::running::settings::Settings;
use crate::running::stoppers::Stoppers;
use crate::support::deadline::Deadline;
use crate::support::sync::Mutex;
use crate::support::sync::atomic::{AtomicBool, Ordering::Relaxed};
use crate::transport::waker::Waker;

/// The state of a server that a program's processes do not share: the waker of the loop, its phase,
/// its settings, and its requests with their numbers.
///
/// A program may bind, fork, and let each process serve. So each process wakes, stops, suspends and
/// limits its own loop, and counts its own requests.
#[derive(Debug)]
pub(crate) struct InProcess {
    waker: OnceLock<Waker>,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) settings: Settings,
    pub(crate) requests: RequestTable,
    pub(crate) lingering: Arc<LingeringConnections>,
    pub(crate) floods: Floods,
    pub(crate) refusals: Refusals,
    pub(crate) stoppers: Stoppers,
    pub(crate) places: Places,
    /// The end of the drain that a stop request has begun; `None` before a stop request.
    pub(crate) stop_deadline: Mutex<Option<Deadline>>,
    /// Whether the loop is in `serve_forever`. Relaxed: the loop's own thread sets and reads the
    /// flag.
    receives_ahead: AtomicBool,
    /// Whether the end of a child may not wake the loop. Relaxed: as `receives_ahead`.
    looks_for_children: AtomicBool,
}

impl InProcess {
    pub(crate) fn new() -> Self {
        Self::with(Lifecycle::new(), Settings::new())
    }

    /// Makes the state in a process that the program has forked from the process with the state
    /// `parent`. The new state has the parent's settings, and none of its requests. This process's
    /// copies of the descriptors of the parent's waker are closed.
    pub(crate) fn after_fork(parent: &Self) -> Self {
        if let Some(waker) = parent.made_waker() {
            waker.close_inherited();
        }
        let lifecycle = Lifecycle::after_fork(&parent.lifecycle);
        let state = Self::with(lifecycle, Settings::after_fork(&parent.settings));
        if state.settings.limits_addresses() {
            let limits = state.settings.limits();
            state.requests.count_addresses(limits.ipv6_prefix());
        }
        state
    }

    fn with(lifecycle: Lifecycle, settings: Settings) -> Self {
        Self {
            waker: OnceLock::new(),
            lifecycle,
            settings,
            requests: RequestTable::new(),
            lingering: Arc::new(LingeringConnections::new()),
            floods: Floods::default(),
            refusals: Refusals::default(),
            stoppers: Stoppers::new(),
            places: Places::new(),
            stop_deadline: Mutex::new(None),
            receives_ahead: AtomicBool::new(false),
            looks_for_children: AtomicBool::new(false),
        }
    }

    /// Returns the loop's waker, which the first call makes.
    pub(crate) fn waker(&self) -> io::Result<&Waker> {
        if self.waker.get().is_none() {
            let waker = Waker::new()?;
            // If two threads make a waker at once, the waker of the first thread stays.
            let _ = self.waker.set(waker);
        }
        Ok(self.waker.get().expect("it was set above"))
    }

    /// Returns the loop's waker, if there is one.
    pub(crate) fn made_waker(&self) -> Option<&Waker> {
        self.waker.get()
    }

    pub(crate) fn may_receive_ahead(&self) -> bool {
        self.receives_ahead.load(Relaxed)
    }

    pub(crate) fn looks_for_children(&self) -> bool {
        self.looks_for_children.load(Relaxed)
    }

    pub(crate) fn set_looks_for_children(&self) {
        self.looks_for_children.store(true, Relaxed);
    }

    pub(crate) fn set_receives_ahead(&self, receives_ahead: bool) {
        self.receives_ahead.store(receives_ahead, Relaxed);
    }
}
