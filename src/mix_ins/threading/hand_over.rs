//! The queue through which the loop hands requests over to idle threads.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::support::deadline::Deadline;
use crate::support::lock::{lock, wait_while};
use crate::support::sync::{Condvar, Mutex};

/// A queue that accepts a request only if an idle thread is free for it.
///
/// The queue never has more requests than idle threads. So a request waits no longer than a thread
/// needs to wake up.
pub(super) struct HandOver<R> {
    state: Mutex<State<R>>,
    /// Notified once for each request, and for all idle threads at the close.
    changed: Condvar,
}

impl<R> HandOver<R> {
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                requests: VecDeque::new(),
                idle: 0,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Hands `request` over to an idle thread, without waiting. Returns the request if no thread is
    /// idle, or the queue is closed.
    pub fn push_if_idle(&self, request: R) -> Result<(), R> {
        let mut state = lock(&self.state);
        if state.closed || state.requests.len() >= state.idle {
            return Err(request);
        }
        state.requests.push_back(request);
        // Unlocked before the notification, so that the woken thread does not wait for the lock.
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Makes the calling thread idle until a request is handed over, and returns the request.
    /// Returns `None` after `keep_alive` without a request, and when the queue is closed.
    pub fn pop(&self, keep_alive: Duration) -> Option<R> {
        let deadline = Deadline::after(Some(keep_alive));
        let mut state = lock(&self.state);
        state.idle += 1;
        let (mut state, _) = wait_while(&self.changed, state, deadline, |state| {
            state.requests.is_empty() && !state.closed
        });
        state.idle -= 1;
        // This line runs even if the time is over or the queue is closed: a request that came at
        // that instant was handed over to this thread.
        state.requests.pop_front()
    }

    /// Ends the wait of every idle thread. Every later `push_if_idle` fails.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl<R> fmt::Debug for HandOver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("HandOver")
            .field("requests", &state.requests.len())
            .field("idle", &state.idle)
            .field("closed", &state.closed)
            .finish()
    }
}

struct State<R> {
    requests: VecDeque<R>,
    /// The number of threads in `pop`.
    idle: usize,
    closed: bool,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const FOR_EVER: Duration = Duration::MAX;

    fn wait_for_idle<R>(queue: &HandOver<R>, idle: usize) {
        while lock(&queue.state).idle != idle {
            thread::yield_now();
        }
    }

    #[test]
    fn a_request_comes_back_when_no_thread_is_idle() {
        let queue = HandOver::new();
        assert_eq!(queue.push_if_idle("request"), Err("request"));
    }

    #[test]
    fn an_idle_thread_takes_the_request_and_is_idle_no_more() {
        let queue = HandOver::new();
        thread::scope(|scope| {
            let thread = scope.spawn(|| queue.pop(FOR_EVER));
            wait_for_idle(&queue, 1);
            assert_eq!(queue.push_if_idle("first"), Ok(()));
            assert_eq!(thread.join().unwrap(), Some("first"));
        });
        assert_eq!(queue.push_if_idle("second"), Err("second"));
    }

    #[test]
    fn every_request_in_the_queue_has_an_idle_thread_of_its_own() {
        let queue = HandOver::new();
        // Two threads that have not woken up yet.
        lock(&queue.state).idle = 2;
        assert_eq!(queue.push_if_idle(1), Ok(()));
        assert_eq!(queue.push_if_idle(2), Ok(()));
        assert_eq!(queue.push_if_idle(3), Err(3));
    }

    #[test]
    fn a_thread_whose_time_is_over_takes_the_request_that_came_at_that_instant() {
        let queue = HandOver::new();
        lock(&queue.state).idle = 1;
        assert_eq!(queue.push_if_idle("request"), Ok(()));
        assert_eq!(queue.pop(Duration::ZERO), Some("request"));
    }

    #[test]
    fn a_thread_without_a_request_is_idle_for_its_keep_alive() {
        let queue = HandOver::<()>::new();
        let keep_alive = Duration::from_millis(2);
        let since = Instant::now();
        assert_eq!(queue.pop(keep_alive), None);
        assert!(since.elapsed() >= keep_alive);
        assert_eq!(queue.push_if_idle(()), Err(()));
    }

    #[test]
    fn closing_ends_the_wait_of_every_idle_thread() {
        let queue = HandOver::<()>::new();
        thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(|| queue.pop(FOR_EVER)));
            wait_for_idle(&queue, 3);
            queue.close();
            for thread in threads {
                assert_eq!(thread.join().unwrap(), None);
            }
        });
        assert_eq!(queue.pop(FOR_EVER), None);
    }

    #[test]
    fn a_closed_queue_accepts_no_request_and_returns_those_that_it_has() {
        let queue = HandOver::new();
        lock(&queue.state).idle = 2;
        assert_eq!(queue.push_if_idle("before"), Ok(()));
        queue.close();
        assert_eq!(queue.push_if_idle("after"), Err("after"));
        assert_eq!(queue.pop(FOR_EVER), Some("before"));
    }

    #[test]
    fn no_request_is_lost_or_taken_twice_while_keep_alives_end() {
        const EACH: usize = 5_000;
        let queue = HandOver::new();
        let no_more = AtomicBool::new(false);
        let begin = Barrier::new(2 + 4);
        let mut taken = thread::scope(|scope| {
            let producers = [0, EACH].map(|first| {
                scope.spawn({
                    let (queue, begin) = (&queue, &begin);
                    move || {
                        begin.wait();
                        for request in first..first + EACH {
                            while queue.push_if_idle(request).is_err() {
                                thread::yield_now();
                            }
                        }
                    }
                })
            });
            let consumers = [1, 7, 20, 50].map(|microseconds| {
                scope.spawn({
                    let (queue, begin, no_more) = (&queue, &begin, &no_more);
                    move || {
                        begin.wait();
                        let mut taken = Vec::new();
                        loop {
                            let is_last = no_more.load(SeqCst);
                            match queue.pop(Duration::from_micros(microseconds)) {
                                Some(request) => taken.push(request),
                                None if is_last => return taken,
                                None => {}
                            }
                        }
                    }
                })
            });
            for producer in producers {
                producer.join().unwrap();
            }
            no_more.store(true, SeqCst);
            Vec::from_iter(
                consumers
                    .into_iter()
                    .flat_map(|consumer| consumer.join().unwrap()),
            )
        });
        taken.sort_unstable();
        assert_eq!(taken, Vec::from_iter(0..2 * EACH));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;

    use super::*;

    #[test]
    fn a_request_is_taken_once_or_comes_back() {
        loom::model(|| {
            let queue = Arc::new(HandOver::new());
            let idle = {
                let queue = queue.clone();
                loom::thread::spawn(move || queue.pop(Duration::MAX))
            };
            let handed_over = queue.push_if_idle("request").is_ok();
            queue.close();
            // A lost notification is a deadlock.
            let taken = idle.join().unwrap();
            assert_eq!(taken.is_some(), handed_over);
        });
    }

    #[test]
    fn two_requests_are_never_handed_over_to_one_idle_thread() {
        loom::model(|| {
            let queue = Arc::new(HandOver::new());
            let idle = {
                let queue = queue.clone();
                loom::thread::spawn(move || queue.pop(Duration::MAX))
            };
            let pushing = {
                let queue = queue.clone();
                loom::thread::spawn(move || queue.push_if_idle("first").is_ok())
            };
            let second = queue.push_if_idle("second").is_ok();
            let first = pushing.join().unwrap();
            queue.close();
            let taken = idle.join().unwrap();
            assert!(!(first && second));
            assert_eq!(taken.is_some(), first || second);
        });
    }
}
