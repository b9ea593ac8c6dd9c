//! The connections of a reactor, and the queue of those that need a turn.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mix_ins::reactor::places::{Place, Places};

/// The most turns between two looks at epoll, so that connections that always have more to send do
/// not delay the others.
pub(super) const TURNS_BEFORE_LOOK: u32 = 64;

/// The places of all connections, and the queue of those that need a turn, in the order of their
/// events.
///
/// A connection is in the queue at most once, and is not in the queue while it has its turn: see
/// [`Readiness`](crate::mix_ins::reactor::readiness::Readiness).
pub(super) struct Queue<R> {
    places: Places<R>,
    ready: VecDeque<Arc<Place<R>>>,
}

impl<R> Queue<R> {
    pub fn new() -> Self {
        Self {
            places: Places::new(),
            ready: VecDeque::new(),
        }
    }

    /// Gives a place to a request. The place is not queued yet.
    pub fn enter(&mut self, request: R) -> Arc<Place<R>> {
        self.places.enter(request)
    }

    /// Takes back the place of a request that has ended.
    pub fn leave(&mut self, token: u64) {
        self.places.leave(token);
    }

    pub fn place(&self, token: u64) -> Option<&Arc<Place<R>>> {
        self.places.get(token)
    }

    /// Returns whether no connection is left.
    pub fn has_no_connection(&self) -> bool {
        self.places.is_empty()
    }

    /// Queues the connection of this token, unless it is queued or served, or has ended.
    pub fn event(&mut self, token: u64) {
        if let Some(place) = self.places.get(token)
            && place.readiness.event()
        {
            self.ready.push_back(place.clone());
        }
    }

    /// Does the same as [`event`](Self::event), for the end of the client's side.
    pub fn end(&mut self, token: u64) {
        if let Some(place) = self.places.get(token)
            && place.readiness.end()
        {
            self.ready.push_back(place.clone());
        }
    }

    /// Queues a connection whose turn has ended, and that needs another.
    pub fn push(&mut self, place: Arc<Place<R>>) {
        self.ready.push_back(place);
    }

    pub fn pop(&mut self) -> Option<Arc<Place<R>>> {
        self.ready.pop_front()
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }
}
