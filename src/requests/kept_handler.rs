//! A handler that a request keeps while its client is silent.

use std::fmt;
use std::time::Instant;

use crate::requests::exchange_clock::Bounds;
use crate::values::error::HandlerResult;

/// The part of an [`ExchangeHandler`](crate::ExchangeHandler) that a reactor calls for every
/// message. The blanket implementation is beside that trait.
pub trait Exchanges<R> {
    /// Whether the unread bytes contain a complete message.
    fn is_complete(&self, unread: &[u8]) -> bool;

    /// Serves one message.
    fn exchange(&mut self, request: &mut R) -> HandlerResult;
}

/// A handler of a request `R` whose `setup` has succeeded, without its type.
pub(crate) trait KeptHandler<R>: Send {
    fn is_complete(&mut self, unread: &[u8]) -> bool;

    fn exchange(&mut self, request: &mut R) -> HandlerResult;

    fn finish(&mut self, request: &mut R) -> HandlerResult;
}

impl<R> fmt::Debug for dyn KeptHandler<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handler")
    }
}

/// What a connection keeps between its turns.
#[derive(Debug)]
pub(crate) struct Turns<R> {
    /// The handler, once its `setup` has succeeded.
    pub(crate) handler: Option<Box<dyn KeptHandler<R>>>,
    /// The connection's name for the reactor.
    pub(crate) token: u64,
    /// The beginning of a message has arrived, and its end has not.
    pub(crate) collecting: bool,
    /// Something has arrived from the client, and no receive has begun since.
    pub(crate) edge: bool,
    /// The client has ended its side. Bytes that it sent before may still be unread.
    pub(crate) end_follows: bool,
    /// Whether the connection counts as idle at present.
    pub(crate) idle: bool,
    /// The server is draining, so the connection does not wait for a silent client.
    pub(crate) draining: bool,
    /// The bound of the present wait for the client, if it has one. The wait ends when something
    /// arrives, and not when another thread unparks the connection.
    pub(crate) wait: Option<Box<BoundedWait>>,
}

#[derive(Debug)]
pub(crate) struct BoundedWait {
    pub(crate) since: Instant,
    pub(crate) bounds: Bounds,
    pub(crate) until: Instant,
}

impl BoundedWait {
    pub(crate) fn begin(bounds: Bounds, until: Instant) -> Box<Self> {
        Box::new(Self {
            since: Instant::now(),
            bounds,
            until,
        })
    }
}
