//! What the caller holds: the loop, and the methods that start and stop it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::base_server::{BaseServer, observe, report_error, shut_down, survive};
use crate::requests::request::Request;
use crate::running::server_handle::{ServerHandle, ServingGuard};
use crate::support::log::{Level, log};
use crate::support::throttle::Warning;
use crate::values::address::Address;
use crate::values::drain_report::DrainReport;
use crate::values::error::{Error, catch_panic};
use crate::values::request_event::{Refusal, RequestEvent};

/// A server, ready to serve: layers around a bottom, and the loop that calls them.
///
/// [`BaseServer::bind`] makes one of any layers; the aliases such as
/// [`ThreadingTcpServer`](crate::ThreadingTcpServer) name the usual ones and have a
/// [`bind`](Server::bind) of their own. Its methods are those that Python's documentation heads
/// with "methods for the caller".
///
/// Dropping it is [`server_close`](Self::server_close), as leaving a `with` block is in Python. A
/// thread that panics cuts its server's running requests off instead of waiting for them.
///
/// ```
/// use std::io::{Read, Write};
/// use socketserver::{HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};
///
/// /// Sends back what comes.
/// struct Echo;
///
/// impl RequestHandler for Echo {
///     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
///         let mut buffer = [0; 1024];
///         while request.wait()? {
///             let count = request.read(&mut buffer)?;
///             request.write_all(&buffer[..count])?;
///         }
///         Ok(())
///     }
/// }
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || Echo)?;
/// println!("listening on {}", server.server_address());
/// # server.shutdown(); // So that the example ends: the loop below returns at once.
/// server.serve_forever()?;
/// let report = server.server_close();
/// # assert_eq!(report.running, 0);
/// # Ok::<(), socketserver::Error>(())
/// ```
pub struct Server<S: BaseServer> {
    top: Arc<S>,
    /// `None` once it is closed. It is held here too so that a borrowed descriptor stays valid.
    socket: Option<Arc<OwnedFd>>,
    timeout: Option<Duration>,
    service_interval: Option<Duration>,
}

/// How a pass of the loop went.
enum Pass {
    /// A request was handed on, or refused, or was gone before it could be.
    Done,
    /// It is to be tried once more.
    Again,
    /// None has come.
    NoRequest,
    /// As many run as may, or accepting is suspended; the loop is told when that changes.
    Full,
    /// The layers take none now.
    NotAccepting,
    /// The system has no means for another one now, which is what the error says; the log has been
    /// told already where there is none.
    Exhausted(Option<io::Error>),
}

/// After so many passes without a wait the loop listens to what a forked child may have said.
const PASSES_WITHOUT_LISTENING: u32 = 64;

/// While the layers take no request they are asked again so often, should nobody say that they do.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The shortest service interval, so that the loop does not spin.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// The first and the longest pause when the system has no descriptor or memory for a request.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl<S: BaseServer> Server<S> {
    pub(crate) fn new(stack: S) -> Result<Self, Error> {
        let socket = stack.socket()?;
        stack.handle().wakeup()?;
        let top = Arc::new(stack);
        top.handle().set_observer(&top);
        Ok(Self {
            top,
            socket: Some(socket),
            timeout: None,
            service_interval: None,
        })
    }

    /// Binds the socket of an [`unbound`](BaseServer::unbound) server.
    ///
    /// # Errors
    ///
    /// If the address cannot be had.
    pub fn server_bind(&self) -> Result<(), Error> {
        self.top.server_bind()
    }

    /// Makes a bound server ready: from here on, clients can connect.
    ///
    /// # Errors
    ///
    /// If the socket cannot listen, or a pool not start.
    pub fn server_activate(&self) -> Result<(), Error> {
        self.top.server_activate()
    }

    /// Serves requests until [`shutdown`](Self::shutdown).
    ///
    /// The loop waits on the socket and on the word to stop together. There is no poll interval
    /// (Python's `poll_interval`, half a second): it stops at once, and while nothing comes it makes
    /// no system calls. Everything else about a request is in the hooks of [`BaseServer`], in whose
    /// documentation the order is told.
    ///
    /// No more requests are got than the [limits](crate::Limits) allow, and none while the server is
    /// [suspended](ServerHandle::suspend).
    ///
    /// Faults do not end it. A connection that died while it was queued is passed over. When
    /// descriptors or memory run out it pauses until a request ends, 10 ms at first and up to a
    /// second, and tries again; the log has a warning of it once a minute at most. A failing handler is the business of
    /// [`handle_error`](BaseServer::handle_error).
    ///
    /// After a shutdown it may be called again.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyServing`] if another thread is in the loop, and [`Error::GetRequest`] if the
    /// socket gives no requests any more: it has been shut down, or its descriptor closed or replaced
    /// behind the server's back. A closed one wakes nobody, so the loop learns of that from the next
    /// client or [`look_again`](ServerHandle::look_again).
    ///
    /// # Panics
    ///
    /// If `service_actions` of a layer does. A panic in any other hook that the loop calls is logged
    /// and survived.
    pub fn serve_forever(&self) -> Result<(), Error> {
        let Some(serving) = self.top.handle().begin_serving()? else {
            return Ok(());
        };
        let mut pause = FIRST_PAUSE;
        let mut passes = 0;
        let (mut at_limit, mut exhausted) = (Warning::default(), Warning::default());
        let mut shut_down = false;
        while !serving.is_stop_requested() {
            match self.handle_request_noblock()? {
                Pass::Done => {
                    pause = FIRST_PAUSE;
                    passes += 1;
                    if passes == PASSES_WITHOUT_LISTENING {
                        passes = 0;
                        serving.heard();
                    }
                }
                Pass::Again => {}
                Pass::NoRequest if shut_down => return Err(self.socket_is_shut_down()),
                Pass::NoRequest => shut_down = self.wait(&serving, true, self.service_interval)?,
                Pass::Full => {
                    self.warn_of_limit(&mut at_limit);
                    let pause = shorter(self.ask_again(), self.service_interval);
                    self.wait(&serving, false, pause)?;
                }
                Pass::NotAccepting => {
                    let pause = shorter(Some(ASK_AGAIN), self.service_interval);
                    self.wait(&serving, false, pause)?;
                }
                Pass::Exhausted(error) => {
                    self.log_pause(&mut exhausted, error);
                    self.wait(&serving, false, shorter(Some(pause), self.service_interval))?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            self.top.service_actions();
        }
        // What a layer does about a shutdown, it does also if that came between the last two steps.
        self.top.service_actions();
        Ok(())
    }

    /// Serves one request, waiting for it as long as the [timeout](Self::set_timeout) allows; when
    /// that is over, calls [`handle_timeout`](BaseServer::handle_timeout).
    ///
    /// For a program that has a loop of its own. A mix-in may still be at work on the request when
    /// it returns. A [`shutdown`](Self::shutdown) ends the wait; a request that is refused, or whose
    /// handler fails, counts as the one. A panic in a hook is logged and survived, as in
    /// `serve_forever`; in `handle_timeout` too.
    ///
    /// # Errors
    ///
    /// As [`serve_forever`](Self::serve_forever).
    pub fn handle_request(&self) -> Result<(), Error> {
        let Some(serving) = self.top.handle().begin_serving()? else {
            return Ok(());
        };
        serving.heard();
        let timeout = self.timeout.or_else(|| self.top.timeout());
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut exhausted = Warning::default();
        let mut shut_down = false;
        while !serving.is_stop_requested() {
            let pass = self.handle_request_noblock()?;
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match pass {
                Pass::Done => return Ok(()),
                _ if left == Some(Duration::ZERO) => {
                    self.handle_timeout();
                    return Ok(());
                }
                Pass::Again => {}
                Pass::NoRequest if shut_down => return Err(self.socket_is_shut_down()),
                Pass::NoRequest => shut_down = self.wait(&serving, true, left)?,
                Pass::Full => {
                    self.wait(&serving, false, shorter(self.ask_again(), left))?;
                }
                Pass::NotAccepting => {
                    self.wait(&serving, false, shorter(Some(ASK_AGAIN), left))?;
                }
                Pass::Exhausted(error) => {
                    self.log_pause(&mut exhausted, error);
                    self.wait(&serving, false, shorter(Some(FIRST_PAUSE), left))?;
                }
            }
        }
        Ok(())
    }

    /// Gets a request if there is one and it may be served, and sees it on its way.
    #[doc(alias = "_handle_request_noblock")]
    fn handle_request_noblock(&self) -> Result<Pass, Error> {
        // The layers first: one may let go of requests that have ended unnoticed.
        let got = catch_panic(|| match self.top.accepting() {
            false => Ok(Err(Pass::NotAccepting)),
            true if self.top.handle().is_full() => Ok(Err(Pass::Full)),
            true => Ok(Ok(self.top.get_request())),
        });
        let mut request = match got {
            Ok(Ok(Ok(request))) => request,
            Ok(Ok(Err(error))) => return self.without_request(error),
            Ok(Err(pass)) => return Ok(pass),
            Err(panic) => {
                let address = self.server_address();
                log(
                    Level::Error,
                    format_args!("{address}: getting a request {panic}"),
                );
                return Ok(Pass::Exhausted(None));
            }
        };
        request.active().announce();
        self.observe(&request, &RequestEvent::Accepted);
        if let Some((why, message)) = self.top.handle().is_above_limit(request.active()) {
            self.turn_away(&mut request, &message);
            self.refuse(request, why);
            return Ok(Pass::Done);
        }
        match catch_panic(|| Ok(self.top.verify_request(&request))) {
            Ok(true) => self.process_request(request),
            Ok(false) => self.refuse(request, Refusal::NotVerified),
            Err(panic) => {
                request.active().note_result(Err(&panic));
                report_error(&*self.top, &mut request, &panic);
                shut_down(&self.top, request);
            }
        }
        Ok(Pass::Done)
    }

    /// Tells the client, by way of layers that may panic.
    fn turn_away(&self, request: &mut S::Request, message: &[u8]) {
        let client = request.client_address().clone();
        survive(&client, "turn_away", || request.turn_away(message));
    }

    fn handle_timeout(&self) {
        survive(&self.server_address(), "handle_timeout", || {
            self.top.handle_timeout();
        });
    }

    fn refuse(&self, request: S::Request, why: Refusal) {
        request.active().refuse();
        self.observe(&request, &RequestEvent::Refused(why));
        shut_down(&self.top, request);
    }

    fn observe(&self, request: &S::Request, event: &RequestEvent) {
        observe(&*self.top, request.client_address(), event);
    }

    /// How soon a loop at its limit looks again by itself. Nobody may have told it of a child's end:
    /// see `ForkingMixIn`.
    fn ask_again(&self) -> Option<Duration> {
        self.top.handle().has_children().then_some(ASK_AGAIN)
    }

    /// Says in the log, now and then, that new clients have to wait.
    fn warn_of_limit(&self, at_limit: &mut Warning) {
        let handle = self.top.handle();
        if !handle.is_suspended() && at_limit.is_due() {
            let (address, running) = (self.server_address(), handle.active_requests());
            let line = format_args!("{address}: {running} requests run, the limit; others wait");
            log(Level::Warn, line);
        }
    }

    /// Says in the log why new clients have to wait: now and then as a warning.
    fn log_pause(&self, exhausted: &mut Warning, error: Option<io::Error>) {
        let Some(error) = error else {
            return;
        };
        let level = match exhausted.is_due() {
            true => Level::Warn,
            false => Level::Debug,
        };
        let address = self.server_address();
        let line = format_args!("{address}: cannot get a request now, pausing: {error}");
        log(level, line);
    }

    /// A mix-in's own panic finds the request gone: dropping it has closed the connection.
    fn process_request(&self, request: S::Request) {
        let client = request.client_address().clone();
        survive(&client, "process_request", || {
            self.top.process_request(&self.top, request);
        });
    }

    /// Tells the reasons apart for which `get_request` gave none.
    fn without_request(&self, error: io::Error) -> Result<Pass, Error> {
        use Errno::{
            EBADF, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINVAL,
            ENETDOWN, ENETUNREACH, ENOPROTOOPT, ENOTCONN, ENOTSOCK, EOPNOTSUPP, EPERM, EPROTO,
            ETIMEDOUT,
        };
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(Pass::NoRequest),
            io::ErrorKind::Interrupted => return Ok(Pass::Again),
            _ => {}
        }
        let address = || self.server_address();
        match error.raw_os_error().map(Errno::from_raw) {
            // Not a socket that requests come from, and it will not become one.
            Some(EBADF | EINVAL | ENOTCONN | ENOTSOCK) => Err(Error::GetRequest {
                address: address(),
                source: error,
            }),
            // accept(2): errors of the one connection, or of the network it came by, or a firewall's
            // refusal. The next one may be well.
            Some(
                ECONNABORTED | ECONNREFUSED | ECONNRESET | EHOSTDOWN | EHOSTUNREACH | ENETDOWN
                | ENETUNREACH | ENOPROTOOPT | EOPNOTSUPP | EPERM | EPROTO | ETIMEDOUT,
            ) => {
                log(
                    Level::Debug,
                    format_args!(
                        "{}: a request was gone before it could be got: {error}",
                        address()
                    ),
                );
                Ok(Pass::Done)
            }
            // EMFILE, ENFILE, ENOBUFS and ENOMEM pass when something else is closed. What else there
            // may be is not known, so it neither ends the loop nor makes it spin.
            _ => {
                if self.top.handle().await_end() {
                    return Ok(Pass::Again);
                }
                Ok(Pass::Exhausted(Some(error)))
            }
        }
    }

    /// What ends the loop where the socket itself says no more than that nothing has come: one that
    /// is shut down and takes datagrams, whose being readable would wake the loop for ever.
    fn socket_is_shut_down(&self) -> Error {
        let message = "the socket has been shut down";
        Error::GetRequest {
            address: self.server_address(),
            source: io::Error::new(io::ErrorKind::BrokenPipe, message),
        }
    }

    /// Waits for a request, unless there is no use in one now, for a word to the loop, or `timeout`.
    /// True if the socket has been shut down, and there is no request behind those that it has.
    fn wait(
        &self,
        serving: &ServingGuard<'_>,
        for_request: bool,
        timeout: Option<Duration>,
    ) -> Result<bool, Error> {
        let socket = for_request.then(|| self.as_fd());
        let woken = serving
            .wakeup()
            .wait(socket, timeout)
            .map_err(|source| Error::GetRequest {
                address: self.server_address(),
                source,
            })?;
        if woken.spoken_to {
            serving.heard();
        }
        Ok(woken.shut_down)
    }

    /// Stops [`serve_forever`](Self::serve_forever) and waits until it has returned, unless it is
    /// called from inside of it. See [`ServerHandle::shutdown`].
    pub fn shutdown(&self) {
        self.top.handle().shutdown();
    }

    /// Closes the server: Python's `server_close`.
    ///
    /// The socket is closed first, and a Unix socket's file removed. Then a mix-in waits for the
    /// requests that still run, if its `block_on_close` says so, as it does unless set: idle ones
    /// are told at once through [`wait`](crate::StreamRequest::wait), the others end by themselves,
    /// and those that have not ended when the [drain timeout](Self::set_drain_timeout) is over are
    /// cut off. The report says how many of each there were.
    #[allow(clippy::must_use_candidate)]
    pub fn server_close(mut self) -> DrainReport {
        self.close();
        self.top.handle().drain_report()
    }

    fn close(&mut self) {
        if self.socket.take().is_some() {
            self.top.handle().begin_close();
            self.top.server_close();
        }
    }

    /// A handle that handlers and other threads may keep, to stop the server or ask for its address.
    #[must_use]
    pub fn handle(&self) -> ServerHandle {
        self.top.handle().clone()
    }

    /// The address that the server listens on, with the real port.
    #[must_use]
    pub fn server_address(&self) -> Address {
        self.top.handle().server_address()
    }

    /// The IP address and port that the server listens on; `None` for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<std::net::SocketAddr> {
        match self.server_address() {
            Address::Inet(address) => Some(address),
            _ => None,
        }
    }

    /// The outermost layer, to ask it something: how many children run, say.
    #[must_use]
    pub fn stack(&self) -> &S {
        &self.top
    }

    /// How long [`handle_request`](Self::handle_request) waits for a request; `None` leaves it to
    /// the layers, which wait without end (a forking one 300 seconds). `serve_forever` ignores it.
    ///
    /// Python's `timeout`.
    #[doc(alias = "timeout")]
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The longest time between two calls of [`service_actions`](BaseServer::service_actions) while
    /// the loop is idle; `None`, the default, lets it sleep until something happens. Less than a
    /// millisecond counts as one.
    ///
    /// Python's `poll_interval`, as far as `service_actions` depends on it.
    #[doc(alias = "poll_interval")]
    pub fn set_service_interval(&mut self, interval: Option<Duration>) {
        self.service_interval = interval.map(|interval| interval.max(SHORTEST_INTERVAL));
    }

    /// How long [`server_close`](Self::server_close), and a [`shutdown`](Self::shutdown) of a server
    /// without a mix-in, give running requests before they cut them off; 30 seconds unless set. `None`
    /// is without end, as in Python.
    pub fn set_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.top.handle().set_drain_timeout(timeout);
    }
}

/// The shorter of two times, where `None` is without end.
fn shorter(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The listening socket: Python's `fileno`. It is for waiting on it, or setting options.
impl<S: BaseServer> AsFd for Server<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket
            .as_ref()
            .expect("it is open as long as the server can be borrowed")
            .as_fd()
    }
}

impl<S: BaseServer> Drop for Server<S> {
    fn drop(&mut self) {
        let waiting_would_hide_the_panic = std::thread::panicking();
        if waiting_would_hide_the_panic {
            self.set_drain_timeout(Some(Duration::ZERO));
        }
        self.close();
    }
}

impl<S: BaseServer> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("server_address", &self.server_address())
            .field("timeout", &self.timeout)
            .field("service_interval", &self.service_interval)
            .field("drain_timeout", &self.top.handle().drain_timeout())
            .finish_non_exhaustive()
    }
}
