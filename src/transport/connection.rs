//! A connection, as the request that is served over it and a stopping server share it.

use std::net::Shutdown;
use std::sync::Arc;

use socket2::Socket;

use crate::support::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use crate::support::sync::store_load_fence;
use crate::transport::traffic::Traffic;

/// The socket, and what the handler does with it at the moment.
///
/// A server that stops ends what blocks on the socket: a wait for a message that has not begun at
/// once, everything else at the drain timeout.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` for a connection without a network.
    socket: Option<Socket>,
    activity: Activity,
    traffic: Traffic,
}

impl Connection {
    pub(crate) fn new(socket: Option<Socket>) -> Arc<Self> {
        Arc::new(Self {
            socket,
            activity: Activity::new(),
            traffic: Traffic::default(),
        })
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// The socket, for the stream that reads and writes it.
    ///
    /// # Panics
    ///
    /// If the connection has no network, and so no such stream.
    pub(crate) fn socket(&self) -> &Socket {
        self.socket
            .as_ref()
            .expect("only a connection over a socket is read through one")
    }

    /// Ends a wait for a message that is under way. Touches atomics and calls shutdown(2), so that
    /// a signal handler may call it.
    pub(crate) fn interrupt_idle(&self) {
        if self.activity.interrupt() {
            self.shut_down(Shutdown::Read);
        }
    }

    /// Ends whatever blocks on the connection.
    pub(crate) fn abort(&self) {
        self.activity.abort();
        self.shut_down(Shutdown::Both);
    }

    fn shut_down(&self, how: Shutdown) {
        if let Some(socket) = &self.socket {
            // shutdown(2) fails when the client has left already, which ends the read as well.
            let _ = socket.shutdown(how);
        }
    }
}

/// What the handler of a connection does, and what the server has done to the connection.
#[derive(Debug)]
pub(crate) struct Activity(AtomicU8);

/// The handler works, or reads the rest of a message.
const BUSY: u8 = 0;
/// The handler waits for a message that has not begun.
const WAITING: u8 = 1;
/// The drain began while the handler waited, and the socket gives no more.
const INTERRUPTED: u8 = 2;
/// The request was running at the drain timeout, and its socket takes and gives no more.
const ABORTED: u8 = 3;

impl Activity {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(BUSY))
    }

    /// The handler is about to wait for a message. Returns false if the server is draining: then
    /// the handler stays busy, and must not wait.
    ///
    /// `draining` is the server's flag. Either the thread that sets the flag and then calls
    /// [`interrupt`](Self::interrupt) sees this wait, or the wait sees the flag. Both threads store
    /// one of the two and load the other, which is why all four accesses are `SeqCst`.
    pub(crate) fn begin_wait(&self, draining: &AtomicBool) -> bool {
        self.change(BUSY, WAITING, Ordering::SeqCst);
        store_load_fence();
        let waits = !draining.load(Ordering::SeqCst);
        if !waits {
            self.end_wait();
        }
        waits
    }

    /// The wait is over.
    pub(crate) fn end_wait(&self) {
        // An interruption that comes first stays, with all that its thread has done before it.
        self.change(WAITING, BUSY, Ordering::AcqRel);
    }

    /// Ends a wait that is under way. The caller has set the server's flag before: see
    /// [`begin_wait`](Self::begin_wait).
    fn interrupt(&self) -> bool {
        store_load_fence();
        self.change(WAITING, INTERRUPTED, Ordering::SeqCst)
    }

    fn abort(&self) {
        // Release: a thread that sees the state also sees why the server aborts the request.
        self.0.store(ABORTED, Ordering::Release);
    }

    /// The handler waits for a message that has not begun.
    pub(crate) fn is_waiting(&self) -> bool {
        // Relaxed: a count for the statistics, which nothing else depends on.
        self.0.load(Ordering::Relaxed) == WAITING
    }

    /// The server, not the client, ended the reading side.
    pub(crate) fn is_interrupted(&self) -> bool {
        // Acquire: pairs with `interrupt` and `abort`.
        self.0.load(Ordering::Acquire) >= INTERRUPTED
    }

    /// The connection was idle when the drain began, and was not aborted since.
    pub(crate) fn was_idle(&self) -> bool {
        self.0.load(Ordering::Acquire) == INTERRUPTED
    }

    /// The server, not the client, ended both sides.
    pub(crate) fn is_aborted(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABORTED
    }

    fn change(&self, from: u8, to: u8, success: Ordering) -> bool {
        // A failed exchange changes nothing and reads a state that no decision depends on.
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
            // A handler that waits and was not interrupted would wait until the drain timeout.
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
