//! The contract between a reactor and a connection that can wait without a thread.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::values::error::HandlerResult;

/// A connection that a reactor serves by turns, and parks while its client is silent.
///
/// The order of calls is: `begin`; then, for a layer that needs more bytes, `begin_wait_for_more`
/// and `end_wait_for_more`; then `turn`, as long as the conversation goes on. `park` and `unpark`
/// are called around every time in which no thread serves the connection.
pub trait Parking {
    /// Lets the connection keep its handler between two turns. The token is the connection's name
    /// for the reactor.
    fn begin(&mut self, token: u64);

    /// The descriptor to wait on. `None` for a stream that cannot be waited for.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// Notes that the client has ended its side. From now on the connection reads to that end.
    fn note_end(&mut self);

    /// Serves the messages that have arrived, up to the bound of a turn. `look` is true if
    /// something may have arrived since the last read. The connection uses `buffers` instead of its
    /// own.
    fn turn(&mut self, look: bool, buffers: &mut Buffers) -> Turn;

    /// Enters a parking between two turns. Returns the time at which the connection needs another
    /// turn. Fails with `Draining` if the server stops, since a draining server does not wait for a
    /// silent client.
    fn park(&mut self) -> Result<Option<Instant>, Draining>;

    /// Leaves the parking.
    fn unpark(&mut self);

    /// Enters a parking for a layer that needs more bytes, as
    /// [`wait_for_more`](crate::Request::wait_for_more) waits.
    ///
    /// # Errors
    ///
    /// Returns the errors of `wait_for_more`.
    fn begin_wait_for_more(&mut self) -> io::Result<WaitForMore>;

    /// Whether the parking for a layer is over: `Some(true)` if bytes have arrived, `Some(false)`
    /// if the server is draining.
    ///
    /// # Errors
    ///
    /// Returns the errors of `wait_for_more`, such as a missed deadline.
    fn end_wait_for_more(&mut self) -> io::Result<Option<bool>>;
}

/// How a turn has ended.
#[derive(Debug)]
pub enum Turn {
    /// The client is silent.
    Silent,
    /// The client has sent more than one turn serves.
    Again,
    /// The conversation is over, and `finish` has run.
    Ended(HandlerResult),
}

/// The server stops, and the connection must not be parked.
#[derive(Debug)]
pub struct Draining;

/// How a wait of a layer begins.
#[derive(Debug, PartialEq, Eq)]
pub enum WaitForMore {
    /// The connection is to be parked, at most until this time.
    Park(Option<Instant>),
    /// Bytes have arrived already.
    Arrived,
    /// The server is draining, and nothing has come.
    Draining,
}

/// The buffers that a thread lends to the connection of its present turn, so that a parked
/// connection needs none.
#[derive(Debug, Default)]
pub struct Buffers {
    pub(crate) read: Vec<u8>,
    pub(crate) write: Vec<u8>,
}
