//! The connections of a server whose requests have ended, and whose clients may still send.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags};

use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::{Condvar, Mutex};
use crate::transport::lingering_connection::LingeringConnection;
use crate::transport::poll::poll_until;
use crate::transport::sys;
use crate::transport::waker::Waker;

/// How long the thread waits for another connection before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// The pause after a poll(2) that has failed.
const PAUSE: Duration = Duration::from_millis(10);

/// The lingering connections, and the thread that reads from them.
///
/// The thread starts with the first connection. It ends when there has been no connection for
/// [`KEEP_ALIVE`], or when the server is closed. It takes no lock except that of this value, and
/// does not log, so that a server that forks may have this thread. A forked child does not use this
/// value.
#[derive(Debug)]
pub(crate) struct LingeringConnections {
    state: Mutex<State>,
    /// Notified when the thread has closed the last connection.
    none: Condvar,
}

#[derive(Debug, Default)]
struct State {
    thread: Option<Thread>,
    /// Connections that the thread has not taken yet, the oldest first.
    arriving: VecDeque<LingeringConnection>,
    /// The number of connections that the thread has taken.
    taken: usize,
    max_connections: usize,
    /// The number of connections that have lingered since the drain began; `None` before a drain.
    in_drain: Option<usize>,
    /// Whether the server is being closed, so that the thread does not wait for more connections.
    is_closing: bool,
}

#[derive(Debug)]
struct Thread {
    handle: JoinHandle<()>,
    /// `None` once the thread takes no more connections, so that no descriptor outlives it.
    waker: Option<Arc<Waker>>,
    /// The value of [`sys::forks`] in the process that has the thread.
    forks: u32,
}

impl LingeringConnections {
    pub(crate) fn new() -> Self {
        // From now on forks are counted.
        sys::forks();
        Self {
            state: Mutex::default(),
            none: Condvar::new(),
        }
    }

    /// Takes the connection, without waiting. If there are more than `max_connections`, closes
    /// those that have lingered longest. If the system has no thread or no descriptor, closes this
    /// connection.
    pub(crate) fn add(
        self: &Arc<Self>,
        connection: LingeringConnection,
        max_connections: usize,
        thread_name: impl FnOnce() -> String,
    ) {
        let mut state = lock(&self.state);
        state.forget_other_process();
        if state.thread.as_ref().is_none_or(Thread::has_ended) {
            let Ok(thread) = self.start_thread(thread_name()) else {
                return;
            };
            if let Some(ended) = state.thread.replace(thread) {
                ended.join();
            }
        }
        state.max_connections = max_connections;
        state.arriving.push_back(connection);
        let too_many = state.arriving.len().saturating_sub(max_connections);
        let closed = Vec::from_iter(state.arriving.drain(..too_many));
        if let Some(count) = &mut state.in_drain {
            *count += 1;
        }
        state.wake();
        drop(state);
        drop(closed);
    }

    /// Begins to count the connections for the drain report, with those that linger now.
    pub(crate) fn begin_drain(&self) {
        let mut state = lock(&self.state);
        if state.in_drain.is_none() {
            state.in_drain = Some(state.count());
        }
    }

    /// Ends the count for the drain report, when the server goes on serving.
    pub(crate) fn end_drain(&self) {
        lock(&self.state).in_drain = None;
    }

    /// Returns the number of connections that have lingered since the drain began.
    pub(crate) fn count_in_drain(&self) -> usize {
        lock(&self.state).in_drain.unwrap_or(0)
    }

    /// Waits until no connection lingers, and at the deadline closes the connections that still
    /// linger. Then ends the thread. If a connection is added later, a new thread starts.
    pub(crate) fn close(&self, deadline: Deadline) {
        let mut state = lock(&self.state);
        state.forget_other_process();
        state.is_closing = true;
        state.wake();
        let (mut state, _) = wait_while(&self.none, state, deadline, |state| state.count() > 0);
        state.wake();
        let thread = state.thread.take();
        let closed = std::mem::take(&mut state.arriving);
        drop(state);
        drop(closed);
        if let Some(thread) = thread {
            thread.join();
        }
    }

    fn start_thread(self: &Arc<Self>, name: String) -> io::Result<Thread> {
        let waker = Arc::new(Waker::new()?);
        let (this, thread_waker) = (self.clone(), waker.clone());
        let builder = thread::Builder::new().name(name);
        let handle = builder.spawn(move || this.run(&thread_waker))?;
        Ok(Thread {
            handle,
            waker: Some(waker),
            forks: sys::forks(),
        })
    }

    /// Does the work of the thread.
    fn run(&self, waker: &Arc<Waker>) {
        let mut connections = VecDeque::new();
        let mut idle_until = Deadline::after(Some(KEEP_ALIVE));
        while self.take_arrived(&mut connections, waker, idle_until) {
            if !connections.is_empty() {
                idle_until = Deadline::after(Some(KEEP_ALIVE));
            }
            let mut ready = wait_for_any(&connections, waker, idle_until).into_iter();
            waker.drain();
            connections.retain_mut(|connection: &mut LingeringConnection| {
                let lingers = ready.next() != Some(true) || connection.drop_received();
                lingers && !connection.deadline().is_over()
            });
        }
    }

    /// Takes the connections that have arrived, and closes the oldest if there are too many.
    /// Returns false if the thread is to end.
    fn take_arrived(
        &self,
        connections: &mut VecDeque<LingeringConnection>,
        waker: &Arc<Waker>,
        idle_until: Deadline,
    ) -> bool {
        let mut state = lock(&self.state);
        let is_this = |thread: &Thread| {
            let its = thread.waker.as_ref();
            its.is_some_and(|its| Arc::ptr_eq(its, waker))
        };
        if !state.thread.as_ref().is_some_and(is_this) {
            // `close` has taken this thread out, to join it. Other connections have another thread.
            connections.clear();
            state.taken = 0;
            return false;
        }
        connections.append(&mut state.arriving);
        let too_many = connections.len().saturating_sub(state.max_connections);
        connections.drain(..too_many);
        state.taken = connections.len();
        if state.taken > 0 {
            return true;
        }
        self.none.notify_all();
        let ends = state.is_closing || idle_until.is_over();
        if ends && let Some(thread) = &mut state.thread {
            thread.waker = None;
        }
        !ends
    }
}

impl State {
    fn count(&self) -> usize {
        self.arriving.len() + self.taken
    }

    fn wake(&self) {
        if let Some(waker) = self.thread.as_ref().and_then(|it| it.waker.as_ref()) {
            waker.wake();
        }
    }

    /// Forgets a thread that a fork has left in another process, and the connections there.
    fn forget_other_process(&mut self) {
        let is_elsewhere = |thread: &mut Thread| thread.forks != sys::forks();
        if let Some(thread) = self.thread.take_if(is_elsewhere) {
            // The thread is neither joined nor detached, since this process has no such thread.
            std::mem::forget(thread.handle);
            // The connections still belong to the other process, so they are not shut down here.
            std::mem::forget(std::mem::take(&mut self.arriving));
            self.taken = 0;
        }
    }
}

impl Thread {
    fn has_ended(&self) -> bool {
        self.waker.is_none()
    }

    fn join(self) {
        // The result is ignored: an error is the thread's panic, which the panic hook has printed.
        let _ = self.handle.join();
    }
}

/// Waits until a client has sent more or left, the waker ends the wait, or a connection has
/// lingered long enough. Without connections, waits until `idle_until`. Returns for each connection
/// whether to read from it.
fn wait_for_any(
    connections: &VecDeque<LingeringConnection>,
    waker: &Waker,
    idle_until: Deadline,
) -> Vec<bool> {
    let deadlines = connections.iter().map(LingeringConnection::deadline);
    let deadline = deadlines.reduce(Deadline::sooner).unwrap_or(idle_until);
    let reading = connections.iter().filter(|it| it.is_reading());
    let descriptors = std::iter::once(waker.read_end()).chain(reading.map(|it| it.descriptor()));
    let mut polled = Vec::from_iter(descriptors.map(|it| PollFd::new(it, PollFlags::POLLIN)));
    if poll_until(&mut polled, deadline).is_err() {
        // Memory has run out. Every connection is tried, and the pause keeps the loop from
        // spinning.
        thread::sleep(PAUSE);
        return vec![true; connections.len()];
    }
    let mut events = polled[1..].iter();
    let is_ready = |it: &LingeringConnection| {
        let event = if it.is_reading() { events.next() } else { None };
        // `None` means flags that the library does not know. They count as an event.
        event.is_some_and(|event| event.any().unwrap_or(true))
    };
    connections.iter().map(is_ready).collect()
}
