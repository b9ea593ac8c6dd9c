//! What a server's layers, its handlers and other threads share of it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use crate::active_request::ActiveRequest;
use crate::active_requests::ActiveRequests;
use crate::address::Address;
use crate::connection::Connection;
use crate::deadlines::Deadlines;
use crate::drain_report::DrainReport;
use crate::error::Error;
use crate::lock::lock;
use crate::wakeup::Wakeup;

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
    forked_child: AtomicBool,
    serving: Mutex<Serving>,
    serving_ended: Condvar,
    close_deadline: Mutex<Option<Instant>>,
    deadlines: Mutex<Deadlines>,
    active: ActiveRequests,
}

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
                forked_child: AtomicBool::new(false),
                serving: Mutex::default(),
                serving_ended: Condvar::new(),
                close_deadline: Mutex::new(None),
                deadlines: Mutex::default(),
                active: ActiveRequests::default(),
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
    /// [`wait`](crate::StreamRequest::wait) are told. It does not deadlock where Python's does:
    ///
    /// * *Before* `serve_forever`, it returns at once, and the next `serve_forever` does too.
    /// * *From inside* the loop's thread, as a handler of a server without a mix-in does, it
    ///   returns at once, and the loop ends when the handler has returned.
    /// * *From a forked child*, it returns at once and stops the parent's loop.
    ///
    /// It does wait in a thread that a handler of the loop's thread waits for in its turn; such a
    /// thread calls [`request_shutdown`](Self::request_shutdown).
    ///
    /// The counterpart of Python's `shutdown`, which takes effect within half a second.
    pub fn shutdown(&self) {
        let served_before = self.ask_to_stop();
        if self.is_forked_child() {
            return;
        }
        let mut serving = lock(&self.shared.serving);
        let this = std::thread::current().id();
        while serving.thread.is_some_and(|it| it != this) && serving.times == served_before {
            let ended = self.shared.serving_ended.wait(serving);
            serving = ended.unwrap_or_else(PoisonError::into_inner);
        }
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

    /// How many requests are running in this process.
    #[must_use]
    pub fn active_requests(&self) -> usize {
        self.shared.active.count()
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

    /// Enters a request without a connection of its own, such as a datagram, among the running
    /// ones. A bottom layer calls it in [`get_request`](crate::BaseServer::get_request).
    #[must_use]
    pub fn begin_request(&self) -> ActiveRequest {
        ActiveRequest::begin(self.clone(), None)
    }

    pub(crate) fn begin_connection(&self, connection: Arc<Connection>) -> ActiveRequest {
        ActiveRequest::begin(self.clone(), Some(connection))
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
    /// still run are shut down, so that blocked reads and writes end; after a further second it
    /// returns false.
    pub fn wait_for_requests(&self) -> bool {
        self.shared.active.wait_for_end(self.close_deadline())
    }

    /// When running requests are to be cut off, once the server is being closed with a limit.
    pub(crate) fn close_deadline(&self) -> Option<Instant> {
        *lock(&self.shared.close_deadline)
    }

    /// Closing begins: idle requests are told, and the time for the others starts.
    pub(crate) fn begin_close(&self, drain_timeout: Option<Duration>) {
        let deadline = drain_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        *lock(&self.shared.close_deadline) = deadline;
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
        self.shared.forked_child.store(true, SeqCst);
    }

    pub(crate) fn is_forked_child(&self) -> bool {
        self.shared.forked_child.load(SeqCst)
    }

    /// What wakes the loop; made when the server is.
    pub(crate) fn wakeup(&self) -> Result<&Wakeup, Error> {
        if self.shared.wakeup.get().is_none() {
            let wakeup = Wakeup::new().map_err(|source| Error::CreateSocket {
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
