//! The handle of a server for its handlers and other threads.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::running::shared::{Shared, this_thread};
use crate::support::deadline::Deadline;
use crate::values::address::Address;
use crate::values::backlog::Backlog;
use crate::values::deadlines::Deadlines;
use crate::values::limits::Limits;
use crate::values::lingering::Lingering;
use crate::values::statistics::Statistics;

/// The handle of a server for its handlers and other threads: its address, its settings and
/// statistics, and the methods that stop it.
///
/// Python's `self.server` in a handler. [`StreamRequest::server`](crate::StreamRequest::server)
/// returns it to a handler, [`Server::handle`](crate::Server::handle) to the owner of the server. A
/// clone is cheap, and may outlive the server.
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

    /// Returns the address that the server listens on, with the real port; before the socket is
    /// bound, the requested address. If the server has several addresses, this is the first.
    /// Python's `server_address`.
    #[must_use]
    #[doc(alias = "local_addr")]
    pub fn server_address(&self) -> Address {
        let address = self.shared.server_address();
        address.cloned().unwrap_or(Address::UnixUnnamed)
    }

    /// Returns every address that the server listens on, with the real port, in the order in which
    /// the program has given them. Python's servers have one address.
    #[must_use]
    pub fn server_addresses(&self) -> Vec<Address> {
        self.shared.server_addresses().to_vec()
    }

    /// Stops [`serve_forever`](crate::Server::serve_forever), and waits until it has returned.
    ///
    /// The loop wakes at once, and [`wait`](crate::StreamRequest::wait) returns false in idle
    /// handlers. Python's `shutdown` takes effect within half a second. In three cases this method
    /// returns at once:
    ///
    /// * *Before* `serve_forever`: the next `serve_forever` returns at once too. Python waits until
    ///   a thread has entered and left the loop.
    /// * *In the loop's thread*, as in a handler of a server without a mix-in: the loop ends when
    ///   the handler has returned. Python waits for ever.
    /// * *In a forked child*: the parent's loop stops. In Python the parent's loop goes on, and the
    ///   child waits for ever.
    ///
    /// If a handler in the loop's thread waits for another thread, and that thread calls this
    /// method, both wait for ever. Such a thread calls [`request_shutdown`](Self::request_shutdown)
    /// instead.
    ///
    /// A server without a mix-in runs its handlers in the loop's thread. If such a handler has not
    /// ended after the [drain timeout](crate::Server::set_drain_timeout), it is aborted, so that
    /// the loop ends.
    pub fn shutdown(&self) {
        let loops = self.shared.request_stop();
        if self.shared.is_forked_child() || self.shared.stoppers().does_this_thread_accept() {
            return;
        }
        let lifecycle = self.shared.lifecycle();
        let deadline = self.shared.drain_deadline();
        if !lifecycle.wait_for_loop(loops, this_thread(), deadline) {
            self.shared.requests().abort();
            lifecycle.wait_for_loop(loops, this_thread(), Deadline::NEVER);
        }
    }

    /// Requests the stop that [`shutdown`](Self::shutdown) waits for, and returns at once. A thread
    /// that must not wait calls this method, such as a thread that waits for a second signal.
    /// Python has no counterpart.
    pub fn request_shutdown(&self) {
        self.shared.request_stop();
    }

    /// Returns whether the server is stopping, so that handlers should end.
    ///
    /// [`StreamRequest::wait`](crate::StreamRequest::wait) checks this. A handler that works for
    /// long without waiting for its client may check it too. Python has no counterpart.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.lifecycle().is_draining()
    }

    /// Returns the number of running requests, those of forked children included.
    #[must_use]
    pub fn active_request_count(&self) -> usize {
        self.shared.requests().count().total()
    }

    /// Waits until no request runs, those of forked children included, at most for `timeout`.
    /// Returns whether this has happened.
    ///
    /// The call stops and aborts nothing, and new requests may begin during the call and after it.
    /// So a program calls [`suspend`](Self::suspend) or [`hand_over`](Self::hand_over) before. In a
    /// handler, the call waits for the whole timeout, because the handler's own request runs. In a
    /// forked child, only the child's own requests count. Python has no counterpart: its programs
    /// poll.
    ///
    /// ```
    /// use std::time::Duration;
    /// # use socketserver::{HandlerResult, Serve, StreamRequest, TcpServer, handler_fn};
    /// # let handler = handler_fn(|_: &mut StreamRequest| Ok(()));
    /// # let server = TcpServer::new("127.0.0.1:0", handler).bind()?;
    /// let handle = server.handle();
    /// handle.suspend();
    /// assert!(handle.wait_for_requests(Duration::from_secs(5)));
    /// # Ok::<(), socketserver::Error>(())
    /// ```
    #[must_use]
    #[doc(alias = "wait_timeout")]
    pub fn wait_for_requests(&self, timeout: Duration) -> bool {
        let deadline = Deadline::after(Some(timeout));
        self.shared
            .requests()
            .count()
            .wait_for_none_anywhere(deadline)
    }

    /// Returns the numbers of the server since it was made.
    ///
    /// Counting costs a few instructions per request and system call. This call visits every
    /// connection. In a forked child the numbers are those at the fork, without idle connections
    /// and without the bytes of active requests. Python has no counterpart.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared.statistics()
    }

    /// Stops accepting requests until [`resume`](Self::resume). Running requests go on, and new
    /// clients wait in the backlog. The call takes effect for the next request. In a forked child
    /// it has no effect. Python has no counterpart.
    pub fn suspend(&self) {
        self.shared.lifecycle().set_suspended(true);
    }

    /// Accepts requests again after [`suspend`](Self::suspend).
    pub fn resume(&self) {
        self.shared.lifecycle().set_suspended(false);
        self.shared.wake();
    }

    /// Leaves the listening sockets and the backlog to another process that has
    /// [copies](Self::listening_sockets) of the sockets: the successor in a restart. The call
    /// cannot be undone.
    ///
    /// From now on the server accepts no connections, receives no datagrams, and does not remove
    /// the file of a Unix socket when it is closed. Running requests go on, and the server still
    /// serves the datagrams that it has received already. The loop goes on until
    /// [`shutdown`](Self::shutdown). In a forked child the call has no effect. Python has no
    /// counterpart.
    ///
    /// A connection whose first message is still on its way is idle, and a drain would close it. So
    /// a program calls [`wait_for_requests`](Self::wait_for_requests) between this call and
    /// `shutdown`.
    pub fn hand_over(&self) {
        self.shared.lifecycle().set_handed_over();
        self.shared.wake();
    }

    /// Returns copies of the sockets on which the server listens, in the order of
    /// [`server_addresses`](Self::server_addresses), for another process. The list is empty before
    /// bind(2), and after the close. A copy has `FD_CLOEXEC`. Python's counterpart is
    /// `server.socket.dup()`.
    ///
    /// # Errors
    ///
    /// If the system has no further file descriptor.
    pub fn listening_sockets(&self) -> io::Result<Vec<OwnedFd>> {
        self.shared.listening_sockets()
    }

    /// Returns whether the server accepts no requests because of [`suspend`](Self::suspend).
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.shared.lifecycle().is_suspended()
    }

    /// Sets the bounds of the number of requests that run at a time; see [`Limits`]. In a forked
    /// child the call has no effect.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.set_limits(limits);
    }

    /// Returns the bounds of the number of requests that run at a time.
    pub fn limits(&self) -> Limits {
        self.shared.settings().limits()
    }

    /// Sets the deadlines of every connection that is accepted from now on. Without this call
    /// connections have no deadlines.
    ///
    /// Connections that were accepted before keep their deadlines. A handler may set others with
    /// [`StreamRequest::set_deadlines`](crate::StreamRequest::set_deadlines). Datagrams have no
    /// deadlines, since a datagram arrives complete.
    pub fn set_deadlines(&self, deadlines: Deadlines) {
        self.shared.settings().set_deadlines(deadlines);
    }

    /// Returns the deadlines of connections that are accepted from now on.
    pub fn deadlines(&self) -> Deadlines {
        self.shared.deadlines()
    }

    /// Sets the bounds of the lingering close of every connection whose request ends from now on;
    /// see [`Lingering`]. Datagrams do not linger.
    pub fn set_lingering(&self, lingering: Lingering) {
        self.shared.settings().set_lingering(lingering);
    }

    /// Returns the bounds of the lingering close.
    pub fn lingering(&self) -> Lingering {
        self.shared.settings().lingering()
    }

    /// Sets what the server does with the clients in the backlog when it stops; see [`Backlog`]. In
    /// a forked child the call has no effect on the parent, whose backlog it is.
    #[doc(alias = "drain_on_shutdown")]
    pub fn set_backlog(&self, backlog: Backlog) {
        self.shared.settings().set_backlog(backlog);
    }

    /// Returns what the server does with the clients in the backlog when it stops.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        self.shared.settings().backlog()
    }

    /// Sets how long [`server_close`](crate::Server::server_close), and a
    /// [`shutdown`](Self::shutdown) of a server without a mix-in, wait for running requests before
    /// they abort them; 30 seconds unless set. `None` means without end, as in Python.
    ///
    /// A wait that has begun keeps its timeout. In a forked child the call has no effect on the
    /// parent, which waits.
    pub fn set_drain_timeout(&self, timeout: Option<Duration>) {
        self.shared.settings().set_drain_timeout(timeout);
    }

    /// Returns how long a stopping server waits for running requests; `None` means without end.
    #[must_use]
    pub fn drain_timeout(&self) -> Option<Duration> {
        self.shared.settings().drain_timeout()
    }

    /// Sets the longest time between two calls of
    /// [`service_actions`](crate::BaseServer::service_actions) while the loop is idle. With `None`,
    /// the default, an idle loop sleeps until a client or a wake comes. Less than a millisecond
    /// counts as one millisecond.
    ///
    /// The call wakes the loop, and so takes effect at once. In a forked child it has no effect.
    /// Python's `poll_interval`, as far as `service_actions` depends on it.
    #[doc(alias = "poll_interval")]
    pub fn set_service_interval(&self, interval: Option<Duration>) {
        if self.shared.is_forked_child() {
            return;
        }
        self.shared.settings().set_service_interval(interval);
        self.shared.wake();
    }

    /// Returns the longest time between two calls of
    /// [`service_actions`](crate::BaseServer::service_actions) while the loop is idle.
    #[must_use]
    pub fn service_interval(&self) -> Option<Duration> {
        self.shared.settings().service_interval()
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
