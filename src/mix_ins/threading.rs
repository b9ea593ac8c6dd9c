//! The mix-in that serves each request in a thread.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};

use crate::base_server::{BaseServer, report_error, shut_down};
use crate::mix_in::MixIn;
use crate::support::lock::lock;

/// How long a thread that has nothing to do stays, unless set.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Serves each request in a thread of its own: as many at a time as the server's
/// [`Limits`](crate::Limits) allow.
///
/// Python's `ThreadingMixIn`. One thing is different: a thread that has finished waits a short
/// while ([`keep_alive`](Self::keep_alive)) for the next request, which is handed to it directly, so
/// that short connections do not pay for a new thread each. A request never waits for a thread:
/// where none is waiting, a new one is started.
///
/// A thread that panics in a handler lives on; the panic goes to
/// [`handle_error`](BaseServer::handle_error). Where the system gives no further thread, that is told
/// to `handle_error` too, and the request is closed.
pub struct ThreadingMixIn<S: BaseServer> {
    next: S,
    daemon_threads: bool,
    block_on_close: bool,
    keep_alive: Duration,
    /// To a thread that has finished and waits. A rendezvous: what is sent has been received. `None`
    /// when the server is closed, which ends those that wait.
    to_waiting: Mutex<Option<Sender<S::Request>>>,
    /// To a thread that is being started. Not in its closure, since a thread that cannot be started
    /// would take the request along.
    to_new: Sender<S::Request>,
    crew: Arc<Crew<S::Request>>,
}

impl<S: BaseServer> ThreadingMixIn<S> {
    /// Puts threads around `next`.
    pub fn new(next: S) -> Self {
        let (to_waiting, waiting) = bounded(0);
        let (to_new, new) = unbounded();
        Self {
            next,
            daemon_threads: false,
            block_on_close: true,
            keep_alive: KEEP_ALIVE,
            to_waiting: Mutex::new(Some(to_waiting)),
            to_new,
            crew: Arc::new(Crew {
                new,
                waiting,
                unjoined: Mutex::default(),
            }),
        }
    }

    /// Whether the threads are daemons, for which closing does not wait; false unless set.
    ///
    /// In Python it also says whether the program may end while they run. A Rust program always
    /// ends when `main` returns.
    #[must_use]
    pub fn daemon_threads(mut self, daemon: bool) -> Self {
        self.daemon_threads = daemon;
        self
    }

    /// Whether closing waits for the requests that still run; true unless set.
    #[must_use]
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }

    /// How long a thread that has finished waits for the next request before it ends; one second
    /// unless set. Zero ends it at once, as Python does.
    #[must_use]
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Serves `request` in a new thread, and then whatever is handed over to it.
    fn start_thread<T>(&self, top: &Arc<T>, request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        if self.to_new.send(request).is_err() {
            unreachable!("the crew has the other end");
        }
        let (worker_top, keep_alive) = (top.clone(), self.keep_alive);
        let serve = move |crew: &Crew<_>| crew.serve(&worker_top, keep_alive);
        if let Err(error) = self.crew.start_thread(serve) {
            // It may be the request of a thread that is just starting; that one then finds ours.
            let Ok(mut request) = self.crew.new.try_recv() else {
                return;
            };
            let error = format!("cannot start a thread for the request: {error}").into();
            report_error(&**top, &mut request, &error);
            shut_down(top, request);
        }
    }
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
        let handed_over = match &*lock(&self.to_waiting) {
            Some(to_waiting) => to_waiting.try_send(request),
            None => Err(TrySendError::Disconnected(request)),
        };
        if let Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) = handed_over
        {
            self.start_thread(top, request);
        }
    }

    fn server_close(&self) {
        self.next.server_close();
        *lock(&self.to_waiting) = None;
        if self.block_on_close && !self.daemon_threads && self.handle().wait_for_requests() {
            self.crew.join();
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

/// The threads, and where they find their requests.
struct Crew<R> {
    new: Receiver<R>,
    waiting: Receiver<R>,
    unjoined: Mutex<Unjoined>,
}

/// The threads that have not been joined: those that run, and at most one that has ended.
#[derive(Default)]
struct Unjoined {
    running: HashMap<ThreadId, JoinHandle<()>>,
    ended: Option<JoinHandle<()>>,
}

impl<R: Send + 'static> Crew<R> {
    fn start_thread(
        self: &Arc<Self>,
        serve: impl FnOnce(&Self) + Send + 'static,
    ) -> std::io::Result<()> {
        let crew = self.clone();
        // Locked until the thread is entered here, which its end comes to look for.
        let mut unjoined = lock(&self.unjoined);
        let handle = std::thread::Builder::new().spawn(move || {
            serve(&crew);
            crew.end_this_thread();
        })?;
        unjoined.running.insert(handle.thread().id(), handle);
        Ok(())
    }

    /// A thread's whole work. There are never fewer first requests than new threads.
    fn serve<T: BaseServer<Request = R>>(&self, top: &Arc<T>, keep_alive: Duration) {
        let mut next = self.new.try_recv().ok();
        while let Some(request) = next {
            top.process_request_thread(request);
            next = self.waiting.recv_timeout(keep_alive).ok();
        }
    }

    /// Every thread joins the one that ended before it. So no more than one is ever left over, and
    /// nobody has to look for ended ones.
    fn end_this_thread(&self) {
        let mut unjoined = lock(&self.unjoined);
        let Some(this) = unjoined.running.remove(&std::thread::current().id()) else {
            return;
        };
        let before = unjoined.ended.replace(this);
        drop(unjoined);
        before.map(JoinHandle::join);
    }

    /// Waits until every thread has ended.
    fn join(&self) {
        let mut unjoined = lock(&self.unjoined);
        let threads = Vec::from_iter(unjoined.running.drain().map(|(_, thread)| thread));
        let ended = unjoined.ended.take();
        drop(unjoined);
        for thread in threads.into_iter().chain(ended) {
            // It fails if the thread panicked, which it cannot do but has said then.
            let _ = thread.join();
        }
    }
}
