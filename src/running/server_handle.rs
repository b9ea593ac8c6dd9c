//! A server as its handlers and other threads see it.

use std::fmt;
use std::sync::Arc;

use crate::running::shared::{Shared, this_thread};
use crate::support::deadline::Deadline;
use crate::values::address::Address;
use crate::values::deadlines::Deadlines;
use crate::values::limits::Limits;
use crate::values::statistics::Statistics;

/// A server as its handlers and other threads see it: its address, its limits and numbers, and how
/// to stop it.
///
/// Python's `self.server` in a handler. A clone is cheap, and may outlive the server. A handler has
/// it from [`StreamRequest::server`](crate::StreamRequest::server), everyone else from
/// [`Server::handle`](crate::Server::handle).
///
/// ```
/// use socketserver::{RequestHandler, HandlerResult, Serve, StreamRequest, TcpServer};
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
#[derive(Clone)]
pub struct ServerHandle {
    shared: Arc<Shared>,
}

impl ServerHandle {
    pub(crate) fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new()),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The address that the server listens on, with the real port; before it is bound, the address
    /// that was requested.
    #[must_use]
    #[doc(alias = "local_addr")]
    pub fn server_address(&self) -> Address {
        let address = self.shared.server_address();
        address.cloned().unwrap_or(Address::UnixUnnamed)
    }

    /// Stops [`serve_forever`](crate::Server::serve_forever), and waits until it has returned.
    ///
    /// It takes effect at once: the loop wakes up, and [`wait`](crate::StreamRequest::wait) returns
    /// false in idle handlers. It returns where Python's waits for something that may never come:
    ///
    /// * *Before* `serve_forever`, it returns at once, and the next `serve_forever` does too.
    ///   Python's waits until somebody enters the loop.
    /// * *From inside* the loop's thread, as a handler of a server without a mix-in does, it
    ///   returns at once, and the loop ends when the handler has returned.
    /// * *From a forked child*, it returns at once and stops the parent's loop.
    ///
    /// A thread that a handler of the loop's thread waits for would wait here for ever; such a
    /// thread calls [`request_shutdown`](Self::request_shutdown).
    ///
    /// A server without a mix-in runs its handlers in the loop's thread. A handler that has not
    /// ended after the [drain timeout](crate::Server::set_drain_timeout) is aborted, so that this
    /// returns.
    ///
    /// The counterpart of Python's `shutdown`, which takes effect within half a second.
    pub fn shutdown(&self) {
        let loops = self.shared.request_stop();
        if self.shared.is_forked_child() {
            return;
        }
        let lifecycle = self.shared.lifecycle();
        let deadline = self.shared.drain_deadline();
        if !lifecycle.wait_for_loop(loops, this_thread(), deadline) {
            self.shared.requests().abort();
            lifecycle.wait_for_loop(loops, this_thread(), Deadline::NEVER);
        }
    }

    /// Stops the server as [`shutdown`](Self::shutdown) does, without waiting: for a thread that
    /// has other things to do, such as listening for a second signal.
    pub fn request_shutdown(&self) {
        self.shared.request_stop();
    }

    /// Whether the server is stopping, so that a handler should come to its end.
    ///
    /// [`StreamRequest::wait`](crate::StreamRequest::wait) asks this; a handler that works for long
    /// without waiting for its client may ask it too.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.lifecycle().is_draining()
    }

    /// How many requests are running, those of forked children among them.
    #[must_use]
    pub fn active_request_count(&self) -> usize {
        self.shared.requests().count().total()
    }

    /// The numbers of the server: what it has done since it was made, and what it is doing.
    ///
    /// Counting costs a few instructions per request and system call; this call costs a look at
    /// every connection. In a forked child the numbers are those of the fork, without the idle
    /// connections.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics()
    }

    /// Accepts no more requests until [`resume`](Self::resume), while those that run go on. New
    /// clients wait in the kernel's queue. It takes effect for the next request. In a forked child
    /// it has no effect.
    pub fn suspend(&self) {
        self.shared.lifecycle().set_suspended(true);
    }

    /// Accepts requests again after [`suspend`](Self::suspend).
    pub fn resume(&self) {
        self.shared.lifecycle().set_suspended(false);
        self.shared.wake();
    }

    /// Whether the server accepts no requests because of [`suspend`](Self::suspend).
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.shared.lifecycle().is_suspended()
    }

    /// Bounds how many requests run at a time, from now on; see [`Limits`]. In a forked child it
    /// has no effect.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.set_limits(limits);
    }

    /// How many requests may run at a time.
    pub fn limits(&self) -> Limits {
        self.shared.settings().limits()
    }

    /// Sets the deadlines of the clients of every connection that is accepted from now on. Without
    /// this call they have none.
    ///
    /// Connections that were accepted before keep theirs. A handler may set others with
    /// [`StreamRequest::set_deadlines`](crate::StreamRequest::set_deadlines). Datagrams have no
    /// deadlines, since a datagram arrives whole.
    pub fn set_deadlines(&self, deadlines: Deadlines) {
        self.shared.settings().set_deadlines(deadlines);
    }

    /// The deadlines of connections that are accepted from now on.
    pub fn deadlines(&self) -> Deadlines {
        self.shared.deadlines()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle")
            .field("server_address", &self.shared.server_address())
            .field("is_draining", &self.is_draining())
            .field("active_request_count", &self.active_request_count())
            .finish_non_exhaustive()
    }
}
