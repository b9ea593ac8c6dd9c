//! A connection, which its request and a stopping server share.

use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;

use crate::support::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::support::sync::store_load_fence;
use crate::transport::reading::Reading;
use crate::transport::traffic::Traffic;

/// The socket, and the present activity of its handler.
///
/// A stopping server ends the calls that block on the socket: the wait of an idle handler at once,
/// and all other calls at the drain timeout.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` for a connection without a network.
    socket: Option<Socket>,
    activity: Activity,
    traffic: Traffic,
    reading: Reading,
}

impl Connection {
    pub(crate) fn new(socket: Option<Socket>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            activity: Activity::new(),
            traffic: Traffic::default(),
            reading: Reading::new(),
        })
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Returns the socket, for the stream that reads and writes it.
    ///
    /// # Panics
    ///
    /// If the connection has no network. Such a connection has a stream of another kind.
    pub(crate) fn socket(&self) -> &Socket {
        self.socket
            .as_ref()
            .expect("only a connection over a socket is read through one")
    }

    /// Ends the wait of an idle handler. Async-signal-safe: touches atomics and calls shutdown(2).
    pub(crate) fn interrupt_idle(&self) {
        if self.activity.interrupt() {
            self.shut_down(Shutdown::Read);
        }
    }

    /// Ends every call that blocks on the connection.
    pub(crate) fn abort(&self) {
        self.activity.abort();
        self.shut_down(Shutdown::Both);
    }

    /// Returns whether the connection has a network.
    pub(crate) fn has_socket(&self) -> bool {
        self.socket.is_some()
    }

    /// Ends both sides after the request, for every process that has the descriptor.
    pub(crate) fn shut_down_both(&self) {
        self.shut_down(Shutdown::Both);
    }

    fn shut_down(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            // shutdown(2) fails if the client has left. In that case the read ends as well.
            let _ = socket.shutdown(how);
        }
    }
}

/// The present activity of a connection's handler, and whether the server has ended the connection.
#[derive(Debug)]
pub(crate) struct Activity(AtomicU8);

/// The handler works, or reads the rest of a message.
const BUSY: u8 = 0;
/// The handler waits for a message that has not begun.
const WAITING: u8 = 1;
/// The drain began while the handler waited, and the socket's reading side is shut down.
const INTERRUPTED: u8 = 2;
/// The request was running at the drain timeout, and both sides of its socket are shut down.
const ABORTED: u8 = 3;

impl Activity {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(BUSY))
    }

    /// Enters the wait for a message. Returns false if the server is draining: then the handler
    /// stays busy, and must not wait.
    ///
    /// `draining` is the server's flag. Either the thread that sets the flag and then calls
    /// [`interrupt`](Self::interrupt) sees this wait, or this wait sees the flag. Each of the two
    /// threads stores one value and loads the other, so all four accesses are `SeqCst`.
    pub(crate) fn begin_wait(&self, draining: &AtomicBool) -> bool {
        self.change(BUSY, WAITING, Ordering::SeqCst);
        store_load_fence();
        let waits = !draining.load(Ordering::SeqCst);
        if !waits {
            self.end_wait();
        }
        waits
    }

    /// Leaves the wait.
    pub(crate) fn end_wait(&self) {
        // An earlier interruption stays. AcqRel: this thread sees what the interrupting thread has
        // done before.
        self.change(WAITING, BUSY, Ordering::AcqRel);
    }

    /// Ends a wait under way. Returns whether there was such a wait. The caller has set the
    /// server's flag before: see [`begin_wait`](Self::begin_wait).
    fn interrupt(&self) -> bool {
        store_load_fence();
        self.change(WAITING, INTERRUPTED, Ordering::SeqCst)
    }

    fn abort(&self) {
        // Release: a thread that sees the state sees what the server has done before the abort.
        self.0.store(ABORTED, Ordering::Release);
    }

    /// Whether the handler waits for a message that has not begun.
    pub(crate) fn is_waiting(&self) -> bool {
        // Relaxed: only the statistics depend on the value.
        self.0.load(Ordering::Relaxed) == WAITING
    }

    /// Whether the server, and not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        // Acquire: pairs with `interrupt` and `abort`.
        self.0.load(Ordering::Acquire) >= INTERRUPTED
    }

    /// Whether the connection was idle when the drain began, and has not been aborted since.
    pub(crate) fn was_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == INTERRUPTED
    }

    /// Whether the server, and not the client, ended both sides.
    pub(crate) fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABORTED
    }

    fn change(&self, from: u8, to: u8, success: Ordering) -> bool {
        // Relaxed on failure: the state that is read then decides nothing.
        let changed = self
            .0
            .compare_exchange(from, to, success, Ordering::Relaxed);
        changed.is_ok()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    #[test]
    fn an_idle_handler_is_interrupted_or_sees_the_drain() {
        loom::model(|| {
            let shared = Arc::new((Activity::new(), AtomicBool::new(false)));
            let handler = {
                let shared = shared.clone();
                loom::thread::spawn(move || shared.0.begin_wait(&shared.1))
            };
            let (activity, draining) = &*shared;
            draining.store(true, Ordering::SeqCst);
            let interrupted = activity.interrupt();
            let waits = handler.join().unwrap();
            // Otherwise the handler would wait until the drain timeout, without an interruption.
            assert!(!waits || interrupted || activity.was_idle());
            assert!(!waits || activity.is_interrupted());
        });
    }

    #[test]
    fn an_interruption_is_not_lost_when_the_wait_ends_at_the_same_time() {
        loom::model(|| {
            let activity = Arc::new(Activity::new());
            activity.begin_wait(&AtomicBool::new(false));
            let stopping = {
                let activity = activity.clone();
                loom::thread::spawn(move || activity.interrupt())
            };
            activity.end_wait();
            let interrupted = stopping.join().unwrap();
            assert_eq!(activity.is_interrupted(), interrupted);
        });
    }
}
