//! The phases of a server, from its first loop to its close.

use std::thread::ThreadId;

use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::atomic::{AtomicBool, Ordering};
use crate::support::sync::{Condvar, Mutex};

/// The phase of a server, and the threads that wait for the end of its loop.
///
/// ```text
///            begin_loop                 request_stop
///   Idle ───────────────▶ Serving ─────────────────────▶ Stopping
///    ▲ ▲                    │ end_loop                      │ end_loop
///    │ └────────────────────┘                               ▼
///    │  request_stop                  begin_loop
///    └───────────────▶ StopRequested ─────────────────▶ Stopped ──▶ Serving, by begin_loop
///                            ▲                             │
///                            └──────── request_stop ───────┘
///
///   every state but Serving and Stopping ──begin_close──▶ Closing ──▶ Overdue
/// ```
#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: Mutex<State>,
    loop_ended: Condvar,
    /// Whether requests are to end in the present phase. The flag is an atomic beside the phase,
    /// because the signal handler of a forked child can take no lock, and a wait for a message
    /// takes none.
    draining: AtomicBool,
    /// Whether accepting is suspended, in any phase.
    suspended: AtomicBool,
    /// Whether another process continues with the listening sockets.
    handed_over: AtomicBool,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Idle,
                loops: 0,
            }),
            loop_ended: Condvar::new(),
            draining: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
        }
    }

    /// Makes the phase of a process that the program has forked from the process with the phase
    /// `parent`: no loop runs. A stop that was requested before the fork, and a suspension, hold in
    /// both processes.
    pub(crate) fn after_fork(parent: &Self) -> Self {
        // `try_lock`, because a thread that held the lock at the fork does not exist in this
        // process.
        let phase = match parent.state.try_lock().map(|state| state.phase) {
            Ok(Phase::StopRequested) => Phase::StopRequested,
            _ => Phase::Idle,
        };
        let is_stopped = matches!(phase, Phase::StopRequested);
        Self {
            state: Mutex::new(State { phase, loops: 0 }),
            loop_ended: Condvar::new(),
            draining: AtomicBool::new(is_stopped),
            suspended: AtomicBool::new(parent.is_suspended()),
            handed_over: AtomicBool::new(parent.is_handed_over()),
        }
    }

    /// The flag of the drain, for [`Activity::begin_wait`](crate::transport::connection::Activity).
    pub(crate) fn draining(&self) -> &AtomicBool {
        &self.draining
    }

    /// Whether requests are to end.
    pub(crate) fn is_draining(&self) -> bool {
        // Acquire: a thread that sees the flag sees what was done before the stop.
        self.draining.load(Ordering::Acquire)
    }

    /// Sets the flag alone, in a forked child whose parent stops. Async-signal-safe.
    pub(crate) fn drain_in_child(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_suspended(&self) -> bool {
        // Relaxed: the loop reads the flag in each pass, and `resume` wakes the loop.
        self.suspended.load(Ordering::Relaxed)
    }

    pub(crate) fn set_suspended(&self, suspended: bool) {
        self.suspended.store(suspended, Ordering::Relaxed);
    }

    /// Returns whether another process continues with the listening sockets, and this process
    /// accepts nothing.
    pub(crate) fn is_handed_over(&self) -> bool {
        // Relaxed: the loop reads the flag in each pass, and `hand_over` wakes the loop.
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Whether a loop has ended.
    pub(crate) fn has_served(&self) -> bool {
        lock(&self.state).loops > 0
    }

    /// Whether the server is to accept requests, as far as its limits allow.
    pub(crate) fn accepts(&self) -> bool {
        !self.is_suspended() && !self.is_handed_over()
    }

    pub(crate) fn set_handed_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
    }

    /// Requests a stop of the present or the next loop. Returns how many loops have ended so far.
    pub(crate) fn request_stop(&self, interrupt_idle: impl FnOnce()) -> u64 {
        let mut state = lock(&self.state);
        state.phase = match state.phase {
            Phase::Idle | Phase::Stopped => Phase::StopRequested,
            Phase::Serving(thread) => Phase::Stopping(thread),
            same => same,
        };
        // SeqCst: see `Activity::begin_wait`.
        self.draining.store(true, Ordering::SeqCst);
        // The call is under the lock: later, it could interrupt the idle connections of the next
        // loop.
        interrupt_idle();
        state.loops
    }

    /// Enters the loop in the calling thread. Returns `None` if a loop runs already, in any thread.
    /// Returns `Some(false)` if a stop was requested before; that stop ends this loop and no
    /// further loop.
    pub(crate) fn begin_loop(&self, thread: ThreadId, begun: impl FnOnce()) -> Option<bool> {
        let mut state = lock(&self.state);
        match state.phase {
            Phase::Serving(_) | Phase::Stopping(_) => None,
            Phase::Idle | Phase::Stopped => {
                state.phase = Phase::Serving(thread);
                self.draining.store(false, Ordering::SeqCst);
                // The call is under the lock: a stop that comes next finds it done.
                begun();
                Some(true)
            }
            Phase::StopRequested => {
                state.phase = Phase::Stopped;
                Some(false)
            }
            // This branch is not reached, since `server_close` consumes the server.
            Phase::Closing(_) | Phase::Overdue(_) => Some(false),
        }
    }

    /// Leaves the loop.
    pub(crate) fn end_loop(&self) {
        let mut state = lock(&self.state);
        state.phase = match state.phase {
            Phase::Serving(_) => Phase::Idle,
            Phase::Stopping(_) => Phase::Stopped,
            same => same,
        };
        state.loops += 1;
        drop(state);
        self.loop_ended.notify_all();
    }

    /// Waits until more than `loops` loops have ended, or no loop runs in a thread other than
    /// `this`. Returns false at the deadline.
    pub(crate) fn wait_for_loop(&self, loops: u64, this: ThreadId, deadline: Deadline) -> bool {
        let (_state, ended) = wait_while(&self.loop_ended, lock(&self.state), deadline, |state| {
            let runs_elsewhere = match state.phase {
                Phase::Serving(thread) | Phase::Stopping(thread) => thread != this,
                _ => false,
            };
            runs_elsewhere && state.loops == loops
        });
        ended
    }

    /// Begins the close of the server.
    pub(crate) fn begin_close(&self, deadline: Deadline) {
        lock(&self.state).phase = Phase::Closing(deadline);
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether this thread runs the loop.
    pub(crate) fn is_loop_of(&self, this: ThreadId) -> bool {
        match lock(&self.state).phase {
            Phase::Serving(thread) | Phase::Stopping(thread) => thread == this,
            _ => false,
        }
    }

    /// Returns the deadline of the requests that run while the server is being closed.
    pub(crate) fn close_deadline(&self) -> Deadline {
        match lock(&self.state).phase {
            Phase::Closing(deadline) | Phase::Overdue(deadline) => deadline,
            _ => Deadline::NEVER,
        }
    }

    /// Ends the time of the running requests: from now on, a request that has not begun is closed
    /// without a handler.
    pub(crate) fn set_overdue(&self) {
        let mut state = lock(&self.state);
        if let Phase::Closing(deadline) = state.phase {
            state.phase = Phase::Overdue(deadline);
        }
    }

    /// Whether a request that has not begun is to be closed without a handler.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_draining() && matches!(lock(&self.state).phase, Phase::Overdue(_))
    }
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The number of loops that have ended.
    loops: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// No loop runs, and no stop was requested.
    Idle,
    /// No loop runs, and the next loop ends at once.
    StopRequested,
    /// The loop runs in this thread.
    Serving(ThreadId),
    /// The loop in this thread ends after its present pass.
    Stopping(ThreadId),
    /// The loop has been stopped.
    Stopped,
    /// The server is being closed, and running requests may go on until this deadline.
    Closing(Deadline),
    /// The server is being closed, and the deadline of running requests is over.
    Overdue(Deadline),
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::*;

    fn this() -> ThreadId {
        std::thread::current().id()
    }

    #[test]
    fn a_stop_before_the_loop_ends_one_loop_and_no_more() {
        let lifecycle = Lifecycle::new();
        lifecycle.request_stop(|| {});
        lifecycle.request_stop(|| {});
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(false));
        assert!(lifecycle.is_draining());
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
        assert!(!lifecycle.is_draining());
    }

    #[test]
    fn a_stopped_server_drains_until_its_next_loop() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
        lifecycle.request_stop(|| {});
        lifecycle.end_loop();
        assert!(lifecycle.is_draining());
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
        assert!(!lifecycle.is_draining());
    }

    #[test]
    fn one_thread_at_a_time_is_in_the_loop() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
        assert_eq!(lifecycle.begin_loop(this(), || {}), None);
        lifecycle.request_stop(|| {});
        assert_eq!(lifecycle.begin_loop(this(), || {}), None);
        lifecycle.end_loop();
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
    }

    #[test]
    fn a_loop_that_fails_leaves_a_server_that_does_not_drain() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
        lifecycle.end_loop();
        assert!(!lifecycle.is_draining());
    }

    #[test]
    fn the_loop_s_own_thread_does_not_wait_for_the_loop() {
        let lifecycle = Lifecycle::new();
        assert_eq!(lifecycle.begin_loop(this(), || {}), Some(true));
        let loops = lifecycle.request_stop(|| {});
        assert!(lifecycle.wait_for_loop(loops, this(), Deadline::NEVER));
        let other = std::thread::spawn(|| std::thread::current().id());
        let soon = Deadline::after(Some(Duration::from_millis(1)));
        assert!(!lifecycle.wait_for_loop(loops, other.join().unwrap(), soon));
    }

    #[test]
    fn a_request_is_overdue_only_after_the_deadline_of_a_close() {
        let lifecycle = Lifecycle::new();
        lifecycle.set_overdue();
        assert!(!lifecycle.is_overdue());
        lifecycle.begin_close(Deadline::after(Some(Duration::ZERO)));
        assert!(!lifecycle.is_overdue());
        lifecycle.set_overdue();
        assert!(lifecycle.is_overdue());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    /// Ids of two threads of the standard library, since loom's own threads have no such ids.
    fn two_threads() -> (ThreadId, ThreadId) {
        let other = std::thread::spawn(|| std::thread::current().id());
        (std::thread::current().id(), other.join().unwrap())
    }

    #[test]
    fn whoever_stops_the_server_returns_when_the_loop_has_ended() {
        let (serving, stopping) = two_threads();
        loom::model(move || {
            let lifecycle = Arc::new(Lifecycle::new());
            let server = {
                let lifecycle = lifecycle.clone();
                loom::thread::spawn(move || {
                    if lifecycle.begin_loop(serving, || {}) == Some(true) {
                        while !lifecycle.is_draining() {
                            loom::thread::yield_now();
                        }
                        lifecycle.end_loop();
                    }
                })
            };
            let loops = lifecycle.request_stop(|| {});
            // A lost notification is a deadlock, and so is a loop that does not see the stop.
            assert!(lifecycle.wait_for_loop(loops, stopping, Deadline::NEVER));
            server.join().unwrap();
            assert!(lifecycle.is_draining());
        });
    }

    #[test]
    fn two_stops_at_once_end_one_loop_and_leave_none_to_the_next() {
        let (serving, stopping) = two_threads();
        loom::model(move || {
            let lifecycle = Arc::new(Lifecycle::new());
            assert_eq!(lifecycle.begin_loop(serving, || {}), Some(true));
            let other = {
                let lifecycle = lifecycle.clone();
                loom::thread::spawn(move || {
                    let loops = lifecycle.request_stop(|| {});
                    assert!(lifecycle.wait_for_loop(loops, stopping, Deadline::NEVER));
                })
            };
            lifecycle.request_stop(|| {});
            while !lifecycle.is_draining() {
                loom::thread::yield_now();
            }
            lifecycle.end_loop();
            other.join().unwrap();
        });
    }
}
