//! What a server's layers, its handlers and other threads share of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::base_server::{BaseServer, observe};
use crate::mix_ins::forking::reports::{ChildReport, ReportToParent};
use crate::running::active_request::ActiveRequest;
use crate::running::active_requests::ActiveRequests;
use crate::support::lock::lock;
use crate::transport::connection::Connection;
use crate::transport::waker::Wakeup;
use crate::values::address::Address;
use crate::values::deadlines::Deadlines;
use crate::values::drain_report::DrainReport;
use crate::values::error::Error;
use crate::values::limits::Limits;
use crate::values::request_event::{Refusal, RequestEvent};
use crate::values::statistics::Statistics;

/// A server as its handlers and other threads see it: its address, and the word to stop.
///
/// Python's `self.server` in a handler. Cloning it is cheap, and it outlives the server without
/// harm. A handler gets it from [`StreamRequest::server`](crate::StreamRequest::server), everyone
/// else from [`Server::handle`](crate::Server::handle).
///
/// ```
/// use socketserver::{BaseServer, RequestHandler, HandlerResult, StreamRequest, TcpServer};
///
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
/// let server = TcpServer::new("127.0.0.1:0", || Nothing).bind()?;
/// let handle = server.handle();
/// let serving = std::thread::spawn(move || server.serve_forever());
/// handle.shutdown();
/// serving.join().unwrap()?;
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    // Not behind a lock, for the sake of a forked child that asks: see `ForkingMixIn`.
    requested_address: OnceLock<Address>,
    bound_address: OnceLock<Address>,
    wakeup: OnceLock<Wakeup>,
    stop_requested: AtomicBool,
    /// The process id of a forked child in that child, else 0.
    forked_child: AtomicU32,
    serving: Mutex<Serving>,
    serving_ended: Condvar,
    suspended: AtomicBool,
    drain_timeout: Mutex<Option<Duration>>,
    close_deadline: Mutex<Option<Instant>>,
    limits: Mutex<Limits>,
    deadlines: Mutex<Deadlines>,
    active: ActiveRequests,
    /// The outermost layer, while it lives.
    observer: OnceLock<Weak<dyn Observer>>,
    /// Set before a child is forked, and used in it.
    to_parent: OnceLock<ReportToParent>,
}

/// A stack of layers, as far as events are concerned.
trait Observer: Send + Sync {
    fn observe(&self, client: &Address, event: &RequestEvent);
}

impl<T: BaseServer> Observer for T {
    fn observe(&self, client: &Address, event: &RequestEvent) {
        observe(self, client, event);
    }
}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the layers")
    }
}

/// How long running requests have when a server stops, unless set.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Serving {
    /// The thread that is in the loop.
    thread: Option<ThreadId>,
    /// How often the loop has ended.
    times: u64,
}

impl ServerHandle {
    /// A handle for a new server that has no address yet.
    ///
    /// Only somebody who writes a bottom layer of their own needs it: the layer makes one, returns
    /// it from [`BaseServer::handle`](crate::BaseServer::handle), and sets the address when it is
    /// bound.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                requested_address: OnceLock::new(),
                bound_address: OnceLock::new(),
                wakeup: OnceLock::new(),
                stop_requested: AtomicBool::new(false),
                forked_child: AtomicU32::new(0),
                serving: Mutex::default(),
                serving_ended: Condvar::new(),
                suspended: AtomicBool::new(false),
                drain_timeout: Mutex::new(Some(DRAIN_TIMEOUT)),
                close_deadline: Mutex::new(None),
                limits: Mutex::default(),
                deadlines: Mutex::default(),
                active: ActiveRequests::default(),
                observer: OnceLock::new(),
                to_parent: OnceLock::new(),
            }),
        }
    }

    /// The address that the server listens on, with the real port; before it is bound, the one that
    /// was asked for.
    #[must_use]
    pub fn server_address(&self) -> Address {
        let Shared {
            bound_address,
            requested_address,
            ..
        } = &*self.shared;
        let known = bound_address.get().or_else(|| requested_address.get());
        known.cloned().unwrap_or(Address::UnixUnnamed)
    }

    /// Makes the address known that was asked for, for errors before and while it is bound. Only the
    /// first call has an effect.
    pub fn set_requested_address(&self, address: Address) {
        let _ = self.shared.requested_address.set(address);
    }

    /// Makes the real address known, once the socket is bound. Only the first call has an effect.
    pub fn set_server_address(&self, address: Address) {
        let _ = self.shared.bound_address.set(address);
    }

    /// Stops [`serve_forever`](crate::Server::serve_forever), and waits until it has returned.
    ///
    /// It takes effect at once: the loop wakes up, and handlers that are idle in
    /// [`wait`](crate::StreamRequest::wait) are told. It returns where Python's waits for something
    /// that may never come:
    ///
    /// * *Before* `serve_forever`, it returns at once, and the next `serve_forever` does too.
    ///   Python's waits until somebody enters the loop.
    /// * *From inside* the loop's thread, as a handler of a server without a mix-in does, it
    ///   returns at once, and the loop ends when the handler has returned.
    /// * *From a forked child*, it returns at once and stops the parent's loop.
    ///
    /// It does wait in a thread that a handler of the loop's thread waits for in its turn; such a
    /// thread calls [`request_shutdown`](Self::request_shutdown).
    ///
    /// A server without a mix-in runs its handlers in the loop's thread. One that has not ended
    /// after the [drain timeout](crate::Server::set_drain_timeout) is cut off, so that this returns.
    ///
    /// The counterpart of Python's `shutdown`, which takes effect within half a second.
    pub fn shutdown(&self) {
        let served_before = self.ask_to_stop();
        if self.is_forked_child() || self.wait_for_loop(served_before, self.drain_deadline()) {
            return;
        }
        self.shared.active.cut_off();
        self.wait_for_loop(served_before, None);
    }

    /// Waits until another thread's loop has ended once more; false if it has not at `deadline`.
    fn wait_for_loop(&self, served_before: u64, deadline: Option<Instant>) -> bool {
        let this = std::thread::current().id();
        let mut serving = lock(&self.shared.serving);
        while serving.thread.is_some_and(|it| it != this) && serving.times == served_before {
            let ended = &self.shared.serving_ended;
            serving = match deadline.map(|it| it.saturating_duration_since(Instant::now())) {
                None => ended.wait(serving).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return false,
                Some(left) => {
                    let woken = ended.wait_timeout(serving, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        true
    }

    /// The same without waiting: for a thread that has other things to do, such as listening for a
    /// second signal.
    pub fn request_shutdown(&self) {
        self.ask_to_stop();
    }

    /// Stops the loop, or the next one, and tells how often it had ended before.
    fn ask_to_stop(&self) -> u64 {
        if self.is_forked_child() {
            self.with_wakeup(Wakeup::stop);
            return 0;
        }
        let serving = lock(&self.shared.serving);
        self.shared.stop_requested.store(true, SeqCst);
        self.shared.active.begin_drain();
        self.look_again();
        serving.times
    }

    /// Whether the server is stopping, so that a handler should come to its end.
    ///
    /// [`StreamRequest::wait`](crate::StreamRequest::wait) asks it; a handler that works for long
    /// without waiting for its client may ask it too.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.active.is_draining()
    }

    /// How many requests are running, those of forked children among them.
    #[must_use]
    pub fn active_requests(&self) -> usize {
        self.shared.active.count()
    }

    /// What the server has done since it was made, and what it is doing.
    ///
    /// Counting costs a few instructions per request and system call; asking costs a look at every
    /// connection. In a forked child the numbers are those of the fork, without the idle ones.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        if self.is_forked_child() {
            // The table's lock may be held by a thread that this process does not have.
            self.shared.active.statistics_of_ended()
        } else {
            self.shared.active.statistics()
        }
    }

    /// Accepts no more requests until [`resume`](Self::resume), while those that run go on. New
    /// clients wait in the kernel's queue. It takes effect for the next request; in a forked child it
    /// has none.
    pub fn suspend(&self) {
        self.shared.suspended.store(true, SeqCst);
    }

    /// Accepts requests again after [`suspend`](Self::suspend).
    pub fn resume(&self) {
        self.shared.suspended.store(false, SeqCst);
        self.look_again();
    }

    /// Whether the server accepts no requests because of [`suspend`](Self::suspend).
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.shared.suspended.load(SeqCst)
    }

    /// Bounds how many requests run at a time, from now on; see [`Limits`]. In a forked child it has
    /// no effect.
    pub fn set_limits(&self, limits: Limits) {
        if self.is_forked_child() {
            // A lock may be held by a thread that this process does not have.
            return;
        }
        let mut current = lock(&self.shared.limits);
        let count = limits.max_connections_per_address.is_some();
        self.shared.active.count_addresses(count);
        *current = limits;
        drop(current);
        self.look_again();
    }

    /// How many requests may run at a time.
    pub fn limits(&self) -> Limits {
        lock(&self.shared.limits).clone()
    }

    /// Keeps other threads from the limits and deadlines, over a fork.
    pub(crate) fn hold_bounds(&self) -> (MutexGuard<'_, Limits>, MutexGuard<'_, Deadlines>) {
        (lock(&self.shared.limits), lock(&self.shared.deadlines))
    }

    /// Whether forked children run, or have ended and not been collected.
    pub(crate) fn has_children(&self) -> bool {
        self.shared.active.has_children()
    }

    /// Whether no request may be got now, because so many run or accepting is suspended. Who finds it
    /// true is told by [`look_again`](Self::look_again) when it may have changed.
    pub(crate) fn is_full(&self) -> bool {
        let full = || {
            let limits = lock(&self.shared.limits);
            let max = limits.max_connections.filter(|_| limits.lets_wait());
            max.is_some_and(|max| self.shared.active.count() >= max)
        };
        if self.is_suspended() {
            return true;
        }
        if !full() {
            return false;
        }
        // Either the request that ends now sees that somebody waits, or we see that it has ended.
        !self.await_end() || full()
    }

    /// Whether `request`, which has just been got, is above a limit; and what to tell its client.
    pub(crate) fn is_above_limit(&self, request: &ActiveRequest) -> Option<(Refusal, Arc<[u8]>)> {
        let limits = lock(&self.shared.limits);
        let why = self.shared.active.is_above(&limits, request.ip())?;
        Some((why, limits.refusal.clone().unwrap_or_default()))
    }

    /// The loop is about to wait until a request ends and lets something go. True if it is to look
    /// once more before it does.
    #[must_use]
    pub(crate) fn await_end(&self) -> bool {
        self.shared.active.await_end()
    }

    /// How long running requests have when the server stops.
    pub(crate) fn drain_timeout(&self) -> Option<Duration> {
        *lock(&self.shared.drain_timeout)
    }

    pub(crate) fn set_drain_timeout(&self, timeout: Option<Duration>) {
        *lock(&self.shared.drain_timeout) = timeout;
    }

    fn drain_deadline(&self) -> Option<Instant> {
        let timeout = self.drain_timeout();
        timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// Lets `top` observe what happens to requests, as long as somebody else keeps it alive.
    pub(crate) fn set_observer<T: BaseServer>(&self, top: &Arc<T>) {
        let top = Arc::downgrade(top);
        let _ = self.shared.observer.set(top);
    }

    /// Tells the layers of an event; in a forked child there is nobody to be told.
    pub(crate) fn observe(&self, client: &Address, event: &RequestEvent) {
        if self.is_forked_child() {
            return;
        }
        if let Some(top) = self.shared.observer.get().and_then(Weak::upgrade) {
            top.observe(client, event);
        }
    }

    /// Where forked children report to; only the first call has an effect.
    pub(crate) fn set_report_to_parent(&self, to_parent: ReportToParent) {
        let _ = self.shared.to_parent.set(to_parent);
    }

    /// Tells the parent how this forked child's request has ended. A process that the child has
    /// forked in its turn says nothing: the parent does not know it.
    pub(crate) fn report_to_parent(&self, report: &ChildReport) {
        let this = std::process::id();
        if let Some(to_parent) = self.shared.to_parent.get()
            && self.shared.forked_child.load(SeqCst) == this
        {
            to_parent.say(report);
        }
    }

    /// Gives the clients of every connection that is accepted from now on these deadlines; unless it
    /// is called they have none.
    ///
    /// Connections that there are keep theirs. A handler may set others with
    /// [`StreamRequest::set_deadlines`](crate::StreamRequest::set_deadlines). Datagrams have no
    /// deadlines: nobody waits for their rest.
    pub fn set_deadlines(&self, deadlines: Deadlines) {
        *lock(&self.shared.deadlines) = deadlines;
    }

    /// The deadlines of connections that are accepted from now on.
    pub fn deadlines(&self) -> Deadlines {
        *lock(&self.shared.deadlines)
    }

    /// Enters a request of this client, without a connection of its own, such as a datagram, among
    /// the running ones. A bottom layer calls it in
    /// [`get_request`](crate::BaseServer::get_request).
    #[must_use]
    pub fn begin_request(&self, client_address: Address) -> ActiveRequest {
        ActiveRequest::begin(self.clone(), client_address, None)
    }

    pub(crate) fn begin_connection(
        &self,
        client_address: Address,
        connection: Arc<Connection>,
    ) -> ActiveRequest {
        ActiveRequest::begin(self.clone(), client_address, Some(connection))
    }

    /// Makes the loop look again at whether it is [`accepting`](crate::BaseServer::accepting). A
    /// layer calls it when it was not and now is.
    pub fn look_again(&self) {
        self.with_wakeup(Wakeup::look_again);
    }

    /// Waits until no request runs in this process, as `server_close` of a mix-in that hands
    /// requests to others does. True if none does.
    ///
    /// Idle handlers have been told before. When the server's
    /// [drain timeout](crate::Server::set_drain_timeout) is over, the connections of those that
    /// still run are shut down, so that blocked reads and writes end, and what has not begun is not
    /// begun; after a further second it returns false.
    pub fn wait_for_requests(&self) -> bool {
        self.shared.active.wait_for_end(self.close_deadline())
    }

    /// When running requests are to be cut off, once the server is being closed with a limit.
    pub(crate) fn close_deadline(&self) -> Option<Instant> {
        *lock(&self.shared.close_deadline)
    }

    /// Closing begins: idle requests are told, and the time for the others starts.
    pub(crate) fn begin_close(&self) {
        *lock(&self.shared.close_deadline) = self.drain_deadline();
        self.shared.active.begin_drain();
    }

    pub(crate) fn active(&self) -> &ActiveRequests {
        &self.shared.active
    }

    pub(crate) fn drain_report(&self) -> DrainReport {
        self.shared.active.report()
    }

    /// This process is a forked child, which has one request and neither loop nor other threads.
    pub(crate) fn set_forked_child(&self) {
        self.shared.forked_child.store(std::process::id(), SeqCst);
    }

    pub(crate) fn is_forked_child(&self) -> bool {
        self.shared.forked_child.load(SeqCst) != 0
    }

    /// What wakes the loop; made when the server is.
    pub(crate) fn wakeup(&self) -> Result<&Wakeup, Error> {
        if self.shared.wakeup.get().is_none() {
            let wakeup = Wakeup::new().map_err(|source| Error::CreateWaker {
                address: self.server_address(),
                source,
            })?;
            // Two threads at once: one of the two is kept.
            let _ = self.shared.wakeup.set(wakeup);
        }
        Ok(self.shared.wakeup.get().expect("it was set above"))
    }

    fn with_wakeup(&self, speak: impl FnOnce(&Wakeup)) {
        if let Some(wakeup) = self.shared.wakeup.get() {
            speak(wakeup);
        }
    }

    /// The calling thread enters the loop. `None` if a shutdown has been asked for already.
    pub(crate) fn begin_serving(&self) -> Result<Option<ServingGuard<'_>>, Error> {
        let wakeup = self.wakeup()?;
        let mut serving = lock(&self.shared.serving);
        if serving.thread.is_some() {
            return Err(Error::AlreadyServing {
                address: self.server_address(),
            });
        }
        if self.shared.stop_requested.swap(false, SeqCst) {
            return Ok(None);
        }
        self.shared.active.end_drain();
        serving.thread = Some(std::thread::current().id());
        Ok(Some(ServingGuard {
            shared: &self.shared,
            wakeup,
        }))
    }
}

impl Default for ServerHandle {
    fn default() -> Self {
        Self::new()
    }
}

/// The time that a thread spends in the loop.
#[derive(Debug)]
pub(crate) struct ServingGuard<'a> {
    shared: &'a Shared,
    wakeup: &'a Wakeup,
}

impl ServingGuard<'_> {
    pub(crate) fn wakeup(&self) -> &Wakeup {
        self.wakeup
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.shared.stop_requested.load(SeqCst)
    }

    /// Takes in what was said to the loop.
    pub(crate) fn heard(&self) {
        if self.wakeup.heard() {
            self.shared.stop_requested.store(true, SeqCst);
            self.shared.active.begin_drain();
        }
    }
}

impl Drop for ServingGuard<'_> {
    fn drop(&mut self) {
        let mut serving = lock(&self.shared.serving);
        serving.thread = None;
        serving.times += 1;
        self.shared.stop_requested.store(false, SeqCst);
        self.shared.serving_ended.notify_all();
    }
}
