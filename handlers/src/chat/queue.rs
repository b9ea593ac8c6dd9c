//! The calls that wait for the operator, in the order of their arrival.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often a waiting call checks whether its server is stopping.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A queue: the call in the first place has the operator.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: Mutex<Tickets>,
    place_left: Condvar,
}

#[derive(Debug, Default)]
struct Tickets {
    waiting: VecDeque<u64>,
    next: u64,
}

impl Queue {
    /// Joins the queue at its end. Returns `None` if the queue has `limit` places already.
    pub(super) fn join(&self, limit: usize) -> Option<Place<'_>> {
        let mut tickets = self.tickets();
        if tickets.waiting.len() >= limit {
            return None;
        }
        let ticket = tickets.next;
        tickets.next += 1;
        tickets.waiting.push_back(ticket);
        Some(Place {
            queue: self,
            ticket,
        })
    }

    fn tickets(&self) -> MutexGuard<'_, Tickets> {
        // Nothing that can panic runs while the lock is held.
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue. Dropping it leaves the queue.
#[derive(Debug)]
pub(super) struct Place<'a> {
    queue: &'a Queue,
    ticket: u64,
}

impl Place<'_> {
    /// Waits until this place is the first, and returns true. Returns false as soon as `goes_on`
    /// returns false.
    pub(super) fn wait(&self, goes_on: impl Fn() -> bool) -> bool {
        let mut tickets = self.queue.tickets();
        while tickets.waiting.front() != Some(&self.ticket) {
            if !goes_on() {
                return false;
            }
            let waited = self.queue.place_left.wait_timeout(tickets, LOOK_EVERY);
            (tickets, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut tickets = self.queue.tickets();
        tickets.waiting.retain(|&ticket| ticket != self.ticket);
        self.queue.place_left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_first_place_does_not_wait() {
        let queue = Queue::default();
        let place = queue.join(10).unwrap();
        assert!(place.wait(|| panic!("there is nothing to wait for")));
    }

    #[test]
    fn the_others_follow_in_the_order_of_their_arrival() {
        let queue = Queue::default();
        let (done, turns) = mpsc::channel();
        let first = queue.join(10).unwrap();
        thread::scope(|scope| {
            for number in 0..5 {
                let place = queue.join(10).unwrap();
                let done = done.clone();
                scope.spawn(move || {
                    assert!(place.wait(|| true));
                    done.send(number).unwrap();
                });
            }
            assert!(turns.try_recv().is_err());
            drop(first);
        });
        assert_eq!(Vec::from_iter(turns.try_iter()), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_place_that_gives_up_is_not_waited_for() {
        let queue = Queue::default();
        let first = queue.join(10).unwrap();
        let second = queue.join(10).unwrap();
        let third = queue.join(10).unwrap();
        assert!(!second.wait(|| false));
        drop(second);
        drop(first);
        assert!(third.wait(|| false));
    }

    #[test]
    fn a_full_queue_cannot_be_joined() {
        let queue = Queue::default();
        let first = queue.join(2).unwrap();
        let _second = queue.join(2).unwrap();
        assert!(queue.join(2).is_none());
        drop(first);
        assert!(queue.join(2).is_some());
    }
}
