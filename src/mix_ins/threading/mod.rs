//! The mix-in that serves each request in a thread.

mod hand_over;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::base_server::{BaseServer, guarded, process_request_thread};
use crate::mix_in::MixIn;
use crate::mix_ins::threading::hand_over::HandOver;
use crate::running::threads::Threads;
use crate::transport::per_process::PerProcess;

/// The default time that an idle thread waits for a request.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Serves each request in a thread of its own: as many at a time as the server's
/// [`Limits`](crate::Limits) allow.
///
/// Python's `ThreadingMixIn`, with one difference: a thread that has served its request stays idle
/// for a short while ([`keep_alive`](Self::keep_alive)) and serves the next request. So a short
/// connection does not pay for a new thread. A request never waits for a thread: if no thread is
/// idle, a new thread is started.
///
/// The threads are named for their server, in the 15 bytes that Linux shows: `tcp:9999 serve`,
/// `udp:53 serve`, or `echo.sock serve` for a Unix server on `/run/echo.sock`. Python's are
/// `Thread-1 (process_request_thread)`.
///
/// A panic in a handler goes to [`handle_error`](BaseServer::handle_error), and the thread goes on.
/// If the system has no further thread, `handle_error` receives the system's error, and the request
/// is closed.
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct ThreadingMixIn<S: BaseServer> {
    next: S,
    daemon_threads: bool,
    block_on_close: bool,
    keep_alive: Duration,
    /// In a process that the program has forked, the layer has other threads.
    crews: PerProcess<Crew<S::Request>>,
    /// The name of the threads, once the first is started.
    thread_name: OnceLock<String>,
}

impl<S: BaseServer> ThreadingMixIn<S> {
    /// Makes a threading layer around `next`.
    pub fn new(next: S) -> Self {
        Self {
            next,
            daemon_threads: false,
            block_on_close: true,
            keep_alive: KEEP_ALIVE,
            crews: PerProcess::new(),
            thread_name: OnceLock::new(),
        }
    }

    /// Sets whether the threads are daemons, for which `server_close` does not wait; false unless
    /// set. Python's `daemon_threads`.
    ///
    /// One request is an exception. If a handler stops the server, `server_close` waits for its
    /// request, up to a second, so that the answer reaches the client. In Python the answer has
    /// been sent before, because Python's writes are unbuffered.
    ///
    /// A Rust program ends when `main` returns, whether or not threads are daemons. A Python
    /// program waits for the threads that are not daemons.
    pub fn daemon_threads(mut self, daemon: bool) -> Self {
        self.daemon_threads = daemon;
        self
    }

    /// Sets whether `server_close` waits for the requests that still run; true unless set. This
    /// option has no effect on [daemon threads](Self::daemon_threads). Python's `block_on_close`.
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }

    /// Sets how long an idle thread waits for the next request before the thread ends; one second
    /// unless set. With zero every request has a new thread, as in Python.
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// The threads of this process.
    fn crew(&self) -> &Crew<S::Request> {
        self.crews.get_or_init(|_| Crew {
            hand_over: Arc::new(HandOver::new()),
            threads: Arc::default(),
        })
    }

    fn thread_name(&self) -> &str {
        self.thread_name.get_or_init(|| {
            let socket = self.socket().ok();
            self.layer_handle().thread_name(socket.as_deref(), "serve")
        })
    }

    /// Serves `request` in a new thread, which then serves the requests that are handed over to it.
    fn start_thread<T>(&self, top: &Arc<T>, request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        let Crew { hand_over, threads } = self.crew();
        let (thread_top, hand_over) = (top.clone(), hand_over.clone());
        let keep_alive = self.keep_alive;
        let started = threads.start_thread(self.thread_name(), request, move |first| {
            let mut next = Some(first);
            while let Some(request) = next {
                process_request_thread(&thread_top, request);
                next = hand_over.pop(keep_alive);
            }
        });
        if let Err((mut request, error)) = started {
            let error = format!("cannot start a thread for the request: {error}").into();
            guarded(top).handle_error(&mut request, &error);
            guarded(top).shutdown_request(request);
        }
    }
}

/// The threads of one process, and the queue through which requests are handed over to them.
struct Crew<R> {
    hand_over: Arc<HandOver<R>>,
    threads: Arc<Threads>,
}

impl<S: BaseServer> MixIn for ThreadingMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn process_request<T>(&self, top: &Arc<T>, request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        if let Err(request) = self.crew().hand_over.push_if_idle(request) {
            self.start_thread(top, request);
        }
    }

    fn server_close(&self) {
        self.next.server_close();
        let Crew { hand_over, threads } = self.crew();
        hand_over.close();
        if !self.block_on_close || self.daemon_threads {
            self.layer_handle().shared().wait_for_stoppers();
        } else if self.layer_handle().wait_for_requests() {
            threads.join();
        }
    }
}

impl<S: BaseServer> fmt::Debug for ThreadingMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadingMixIn")
            .field("daemon_threads", &self.daemon_threads)
            .field("block_on_close", &self.block_on_close)
            .field("keep_alive", &self.keep_alive)
            .finish_non_exhaustive()
    }
}
