//! The two bits of a connection: whether it has, or needs, a turn.

use crate::support::sync::atomic::{AtomicU8, Ordering};

/// The connection is queued for a turn, or has one.
const BUSY: u8 = 1;
/// Something has happened, and no read has begun since.
const EDGE: u8 = 2;
/// Among the events since the last read is the end of the client's side.
const END: u8 = 4;

/// Whether a connection is parked, and whether something has happened to it.
///
/// ```text
///                  event: the caller queues the connection
///   parked (0) ────────────────────────────────────────────▶ BUSY | EDGE
///        ▲                                                     │      ▲
///        │ park                            take_edge, at the   │      │ event
///        │                                 begin of a turn     ▼      │
///        └──────────────────────────────────────────────────── BUSY ──┘
/// ```
///
/// There are two bits, and not three states: an event that comes while the connection is queued
/// with unread bytes must not be lost, although the connection is queued already. A turn that ends
/// in [`park`](Self::park) while `EDGE` is set stays busy, and the connection is queued again.
#[derive(Debug)]
pub(super) struct Readiness(AtomicU8);

impl Readiness {
    /// The state of a new connection: queued for its first turn.
    pub fn new() -> Self {
        Self(AtomicU8::new(BUSY | EDGE))
    }

    /// Notes an event. Returns true if the caller is to queue the connection.
    #[must_use]
    pub fn event(&self) -> bool {
        // AcqRel: the turn that follows sees what the thread of the event has done before, and the
        // thread that queues the connection sees what the parking thread has done.
        self.0.fetch_or(BUSY | EDGE, Ordering::AcqRel) & BUSY == 0
    }

    /// Does the same as [`event`](Self::event), for an event with the end of the client's side.
    #[must_use]
    pub fn end(&self) -> bool {
        // AcqRel: as in `event`.
        self.0.fetch_or(BUSY | EDGE | END, Ordering::AcqRel) & BUSY == 0
    }

    /// Notes that a read begins. Returns the events since the last read.
    pub fn take_edge(&self) -> Edge {
        // AcqRel: the read comes after this line, and sees the bytes of the event.
        let bits = self.0.fetch_and(!(EDGE | END), Ordering::AcqRel);
        if bits & END != 0 {
            Edge::End
        } else if bits & EDGE != 0 {
            Edge::Something
        } else {
            Edge::Nothing
        }
    }

    /// Parks the connection. Returns false if something has happened since the last `take_edge`:
    /// then the connection stays busy, and the caller queues it again.
    #[must_use]
    pub fn park(&self) -> bool {
        // Release: the thread of the next event sees the parked connection. Acquire on failure: the
        // caller goes on as after an event.
        self.0
            .compare_exchange(BUSY, 0, Ordering::Release, Ordering::Acquire)
            .is_ok()
    }
}

/// The events of a connection since its last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Nothing,
    Something,
    /// The client has ended its side, and bytes may be unread before that end. A read that returns
    /// less than it has room for does not show this end, and no further event does.
    End,
}

impl Edge {
    pub fn is_something(self) -> bool {
        self != Self::Nothing
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn of_several_events_of_a_parked_connection_one_queues_it() {
        let readiness = Readiness::new();
        assert!(!readiness.event());
        assert!(readiness.take_edge().is_something());
        assert!(readiness.park());
        assert!(readiness.event());
        assert!(!readiness.event());
    }

    #[test]
    fn an_event_during_a_turn_keeps_the_connection_from_parking() {
        let readiness = Readiness::new();
        readiness.take_edge();
        assert!(!readiness.event());
        assert!(!readiness.park());
        assert!(readiness.take_edge().is_something());
        assert!(readiness.park());
    }

    #[test]
    fn the_end_of_the_client_s_side_is_not_lost_among_other_events_and_is_reported_once() {
        let readiness = Readiness::new();
        assert!(!readiness.event());
        assert!(!readiness.end());
        assert!(!readiness.event());
        assert_eq!(readiness.take_edge(), Edge::End);
        assert_eq!(readiness.take_edge(), Edge::Nothing);
        assert!(readiness.park());
        assert!(readiness.end());
        assert_eq!(readiness.take_edge(), Edge::End);
    }

    #[test]
    fn an_event_while_the_connection_is_queued_with_unread_bytes_is_not_lost() {
        let readiness = Readiness::new();
        // A turn ends with unread bytes: the connection is queued again, and not parked.
        readiness.take_edge();
        assert!(!readiness.event());
        // The next turn reads the rest of its buffer, and then looks at the socket.
        assert!(readiness.take_edge().is_something());
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use std::collections::VecDeque;

    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Mutex};

    use super::*;

    /// One connection: the bytes in its socket, and the queue of the reactor.
    struct Model {
        readiness: Readiness,
        socket: AtomicUsize,
        queue: Mutex<VecDeque<()>>,
        served: AtomicUsize,
        /// Whether two turns of the connection overlap.
        in_turn: AtomicUsize,
    }

    impl Model {
        fn parked() -> Arc<Self> {
            let readiness = Readiness::new();
            readiness.take_edge();
            assert!(readiness.park());
            Arc::new(Self {
                readiness,
                socket: AtomicUsize::new(0),
                queue: Mutex::default(),
                served: AtomicUsize::new(0),
                in_turn: AtomicUsize::new(0),
            })
        }

        fn event(&self) {
            if self.readiness.event() {
                self.queue.lock().unwrap().push_back(());
            }
        }

        /// The client sends a byte, and the kernel reports it.
        fn byte_arrives(&self) {
            self.socket.fetch_add(1, Ordering::Relaxed);
            self.event();
        }

        /// Serves the queue until it is empty.
        fn serve(&self) {
            while self.queue.lock().unwrap().pop_front().is_some() {
                assert_eq!(self.in_turn.fetch_add(1, Ordering::AcqRel), 0);
                if self.readiness.take_edge().is_something() {
                    let bytes = self.socket.swap(0, Ordering::Relaxed);
                    self.served.fetch_add(bytes, Ordering::Relaxed);
                }
                self.in_turn.fetch_sub(1, Ordering::AcqRel);
                if !self.readiness.park() {
                    self.queue.lock().unwrap().push_back(());
                }
            }
        }
    }

    #[test]
    fn no_byte_is_left_behind_and_no_two_turns_overlap() {
        loom::model(|| {
            let model = Model::parked();
            let threads = [(), ()].map(|()| {
                let model = model.clone();
                loom::thread::spawn(move || {
                    model.byte_arrives();
                    model.serve();
                })
            });
            for thread in threads {
                thread.join().unwrap();
            }
            // The thread that queued the connection served it, or left it to a thread that still
            // served.
            model.serve();
            assert_eq!(model.served.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn an_event_from_another_thread_during_a_turn_leads_to_another_turn() {
        loom::model(|| {
            let model = Model::parked();
            model.byte_arrives();
            let client = {
                let model = model.clone();
                loom::thread::spawn(move || model.byte_arrives())
            };
            model.serve();
            client.join().unwrap();
            model.serve();
            assert_eq!(model.served.load(Ordering::Relaxed), 2);
        });
    }
}
