//! The contract between a reactor and other threads, which wake a parked connection.

use std::fmt;
use std::sync::Arc;

/// The part of a reactor that other threads need.
pub(crate) trait Unparks: fmt::Debug + Send + Sync {
    /// Gives the connection of this token a turn.
    fn unpark(&self, token: u64);
}

/// Ends the parking of one connection, from any thread. Does nothing once the connection has ended.
#[derive(Debug)]
pub(crate) struct Unpark {
    reactor: Arc<dyn Unparks>,
    token: u64,
}

impl Unpark {
    pub(crate) fn new(reactor: Arc<dyn Unparks>, token: u64) -> Self {
        Self { reactor, token }
    }

    pub(crate) fn unpark(&self) {
        self.reactor.unpark(self.token);
    }
}
