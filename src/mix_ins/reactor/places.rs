//! The places of a reactor's connections.

use std::sync::Arc;
use std::time::Instant;

use slab::Slab;

use crate::mix_ins::reactor::readiness::Readiness;
use crate::support::sync::Mutex;

/// The place of one connection, from its first turn to its end.
pub(super) struct Place<R> {
    pub token: u64,
    pub readiness: Readiness,
    /// Locked during a turn. `None` once the connection has ended.
    pub occupant: Mutex<Option<Occupant<R>>>,
}

/// A connection, and the state that the reactor keeps with it.
pub(super) struct Occupant<R> {
    pub request: R,
    pub stage: Stage,
    /// Whether the descriptor is registered with epoll.
    pub registered: bool,
    /// `Some` if the connection needs a turn at a certain time, even if nothing arrives.
    pub timer: Option<Box<Timer>>,
}

/// The time at which a connection needs another turn, even if nothing arrives.
#[derive(Debug, Default)]
pub(super) struct Timer {
    pub due: Option<Instant>,
    /// The timer that is set for this connection. It may be earlier than `due`.
    pub set: Option<Instant>,
}

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No hook of steps 4 to 7 has been called.
    New,
    /// A layer needs more bytes.
    Preparing,
    /// `finish_request` has returned, and the request keeps its handler.
    Serving,
}

impl<R> Occupant<R> {
    pub fn new(request: R) -> Self {
        Self {
            request,
            stage: Stage::New,
            registered: false,
            timer: None,
        }
    }
}

/// All places, by their tokens.
///
/// A token is the index of its place and a number that is used once. So a late event of a closed
/// descriptor finds no connection, even if the index is in use again.
pub(super) struct Places<R> {
    slab: Slab<Arc<Place<R>>>,
    /// The number of the next place.
    number: u32,
}

impl<R> Places<R> {
    pub fn new() -> Self {
        Self {
            slab: Slab::new(),
            number: 0,
        }
    }

    pub fn enter(&mut self, request: R) -> Arc<Place<R>> {
        let entry = self.slab.vacant_entry();
        let index = u32::try_from(entry.key()).expect("fewer connections than descriptors");
        let token = u64::from(self.number) << 32 | u64::from(index);
        self.number = self.number.wrapping_add(1);
        let place = Arc::new(Place {
            token,
            readiness: Readiness::new(),
            occupant: Mutex::new(Some(Occupant::new(request))),
        });
        entry.insert(place.clone());
        place
    }

    pub fn get(&self, token: u64) -> Option<&Arc<Place<R>>> {
        let index = usize::try_from(token & u64::from(u32::MAX)).ok()?;
        self.slab.get(index).filter(|place| place.token == token)
    }

    pub fn leave(&mut self, token: u64) {
        if self.get(token).is_some() {
            self.slab.remove((token & u64::from(u32::MAX)) as usize);
        }
        if self.slab.is_empty() {
            // Frees the memory that many connections have needed.
            self.slab = Slab::new();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_a_connection_that_has_left_finds_nobody_when_its_index_is_used_again() {
        let mut places = Places::new();
        let first = places.enter("first").token;
        places.leave(first);
        let second = places.enter("second").token;
        assert_ne!(first, second);
        assert!(places.get(first).is_none());
        places.leave(first);
        assert!(places.get(second).is_some());
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back_when_all_have_left() {
        let mut places = Places::new();
        let tokens = Vec::from_iter((0..1000).map(|n| places.enter(n).token));
        assert!(places.slab.capacity() >= 1000);
        for token in tokens {
            places.leave(token);
        }
        assert!(places.is_empty());
        assert_eq!(places.slab.capacity(), 0);
    }
}
