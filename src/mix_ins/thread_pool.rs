//! The mix-in that serves requests with a fixed number of threads.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fmt, fs, io, thread};

use threadpool::ThreadPool;

use crate::base_server::{BaseServer, guarded, process_request_thread};
use crate::mix_in::MixIn;
use crate::support::lock::lock;
use crate::support::sync::Mutex;
use crate::transport::per_process::PerProcess;
use crate::values::error::{Error, catch_panic};

/// Serves requests with a fixed number of threads, and lets a bounded number of requests wait.
///
/// When every worker is busy and every waiting place is taken, the loop stops accepting, and goes
/// on as soon as a request ends. Meanwhile connections wait in the backlog
/// ([`request_queue_size`](crate::TcpServer::request_queue_size)). So a flood of clients costs
/// neither threads nor memory.
///
/// The threads are named for their server, in the 15 bytes that Linux shows: `tcp:9999 pool`,
/// `udp:53 pool`, or `echo.sock pool` for a Unix server on `/run/echo.sock`.
///
/// Python's module has no such mix-in. A connection occupies its worker until it is closed. So
/// [`ThreadingMixIn`](crate::ThreadingMixIn) or [`ReactorMixIn`](crate::ReactorMixIn) is the better
/// choice for many idle clients.
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct ThreadPoolMixIn<S> {
    next: S,
    workers: usize,
    queue_size: Option<usize>,
    block_on_close: bool,
    /// In a process that the program has forked, the layer has other workers.
    crews: PerProcess<Crew>,
}

/// The workers of one process.
#[derive(Default)]
struct Crew {
    /// Whether the server is activated, and so has workers, and is not closed.
    is_active: AtomicBool,
    /// Made at the activation, and in a forked process for the first request.
    pool: Mutex<Option<ThreadPool>>,
    /// The number of requests that run or wait for a worker. The pool's own `active_count` and
    /// `queued_count` fall only after the job has returned. But the job wakes the loop, and the
    /// loop must then find the lower number.
    taken: Arc<AtomicUsize>,
}

impl<S: BaseServer> ThreadPoolMixIn<S> {
    /// Makes a layer with a pool around `next`. The default number of workers is that of Python's
    /// `ThreadPoolExecutor`: the number of processors and four more, at most 32.
    pub fn new(next: S) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            next,
            workers: (processors + 4).min(32),
            queue_size: None,
            block_on_close: true,
            crews: PerProcess::new(),
        }
    }

    /// Sets the number of threads, and so of requests that are served at a time. 0 counts as 1.
    /// Python's `max_workers` of `ThreadPoolExecutor`.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Sets the number of accepted requests that may wait for a worker; the number of workers
    /// unless set.
    pub fn queue_size(mut self, size: usize) -> Self {
        self.queue_size = Some(size);
        self
    }

    /// Sets whether `server_close` waits for the requests that still run or wait; true unless set.
    /// Requests that still wait for a worker at the
    /// [drain timeout](crate::Server::set_drain_timeout) are closed without a handler.
    pub fn block_on_close(mut self, block: bool) -> Self {
        self.block_on_close = block;
        self
    }

    fn crew(&self) -> &Crew {
        self.crews.get_or_init(|parent| {
            let is_active = parent.is_some_and(|parent| parent.is_active.load(Ordering::Acquire));
            Crew {
                is_active: AtomicBool::new(is_active),
                ..Crew::default()
            }
        })
    }

    /// Starts the workers.
    fn build(&self) -> io::Result<ThreadPool> {
        let socket = self.socket().ok();
        let name = self.layer_handle().thread_name(socket.as_deref(), "pool");
        let build = || {
            let pool = threadpool::Builder::new().num_threads(self.workers);
            pool.thread_name(name).build()
        };
        let failed = |reason: String| {
            io::Error::other(format!(
                "cannot start {} workers: {reason}; set fewer",
                self.workers
            ))
        };
        try_threads(self.workers).map_err(|error| failed(error.to_string()))?;
        // `threadpool` panics if the system has no further thread, although it had enough above.
        catch_panic(build).map_err(|panic| failed(panic.to_string()))
    }

    fn capacity(&self) -> usize {
        self.workers
            .saturating_add(self.queue_size.unwrap_or(self.workers))
    }
}

impl<S: BaseServer> MixIn for ThreadPoolMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn server_activate(&self) -> Result<(), Error> {
        self.next.server_activate()?;
        let pool = self.build().map_err(|source| Error::Activate {
            address: self.layer_handle().server().server_address(),
            source,
        })?;
        let crew = self.crew();
        *lock(&crew.pool) = Some(pool);
        // Release: a forked process that sees the flag starts workers.
        crew.is_active.store(true, Ordering::Release);
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.crew().taken.load(Ordering::Acquire) < self.capacity() && self.next.is_ready()
    }

    fn process_request<T>(&self, top: &Arc<T>, mut request: S::Request)
    where
        T: BaseServer<Request = S::Request>,
    {
        let crew = self.crew();
        let mut pool = lock(&crew.pool);
        if pool.is_none() && crew.is_active.load(Ordering::Acquire) {
            match self.build() {
                Ok(built) => *pool = Some(built),
                Err(error) => {
                    drop(pool);
                    let error = error.into();
                    guarded(top).handle_error(&mut request, &error);
                    return guarded(top).shutdown_request(request);
                }
            }
        }
        let place = Place::take(self, top.clone());
        let serve = move || {
            process_request_thread(&place.top, request);
            drop(place);
        };
        if let Some(pool) = &*pool {
            pool.execute(serve);
        } else {
            // The loop serves the request itself: no workers exist before `server_activate` and
            // after `server_close`.
            drop(pool);
            serve();
        }
    }

    fn server_close(&self) {
        self.next.server_close();
        let crew = self.crew();
        crew.is_active.store(false, Ordering::Release);
        let pool = lock(&crew.pool).take();
        if !self.block_on_close {
            self.layer_handle().shared().wait_for_stoppers();
        } else if self.layer_handle().wait_for_requests() {
            // The drop of the pool, after this, ends its idle workers.
            pool.inspect(ThreadPool::join);
        }
    }
}

/// Starts `count` threads at once, and ends them.
///
/// `threadpool` panics if the system has no further thread. Rust's runtime aborts the process if a
/// thread has started and there is no memory mapping left for its signal stack. This function fails
/// instead.
///
/// # Errors
///
/// If the system does not have so many threads or mappings.
fn try_threads(count: usize) -> io::Result<()> {
    let (mappings, limit) = (count.saturating_mul(MAPPINGS_OF_A_THREAD), free_mappings());
    if let Some(limit) = limit.filter(|limit| mappings > *limit) {
        return Err(io::Error::other(format!(
            "their stacks need {mappings} memory mappings, and {limit} are left (vm.max_map_count)"
        )));
    }
    let gate = std::sync::Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock();
        let started = (0..count).try_for_each(|_| {
            let thread = thread::Builder::new();
            thread.spawn_scoped(scope, || drop(gate.lock())).map(drop)
        });
        drop(closed);
        started
    })
}

/// The mappings of a thread: its stack, its signal stack, and a guard page for each.
const MAPPINGS_OF_A_THREAD: usize = 4;

/// The number of memory mappings that the process may still make, on Linux.
fn free_mappings() -> Option<usize> {
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").ok()?;
    let made = fs::read_to_string("/proc/self/maps").ok()?.lines().count();
    Some(most.trim().parse::<usize>().ok()?.saturating_sub(made))
}

/// A place in the pool. Its drop gives the place back, also after a panic.
struct Place<T: BaseServer> {
    taken: Arc<AtomicUsize>,
    workers: usize,
    capacity: usize,
    top: Arc<T>,
}

impl<T: BaseServer> Place<T> {
    fn take<S: BaseServer>(layer: &ThreadPoolMixIn<S>, top: Arc<T>) -> Self {
        let (taken, workers) = (layer.crew().taken.clone(), layer.workers);
        if taken.fetch_add(1, Ordering::Relaxed) >= workers {
            top.layer_handle().shared().places().enqueue();
        }
        Self {
            taken,
            workers,
            capacity: layer.capacity(),
            top,
        }
    }
}

impl<T: BaseServer> Drop for Place<T> {
    fn drop(&mut self) {
        let taken = self.taken.fetch_sub(1, Ordering::AcqRel);
        if taken > self.workers {
            // The first of the waiting requests has this place now.
            self.top.layer_handle().shared().places().dequeue();
        }
        if taken >= self.capacity {
            // The pool was full, so the loop may wait for this wake.
            self.top.layer_handle().wake();
        }
    }
}

impl<S> fmt::Debug for ThreadPoolMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolMixIn")
            .field("workers", &self.workers)
            .field("queue_size", &self.queue_size)
            .field("block_on_close", &self.block_on_close)
            .finish_non_exhaustive()
    }
}
