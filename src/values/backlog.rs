//! What becomes of the clients in the kernel's queue when a server stops.

/// What a server that stops does about the clients whose connection the kernel has accepted, and
/// the server has not: those in the backlog of the listening socket.
///
/// [`ServerHandle::set_backlog`](crate::ServerHandle::set_backlog) sets the value. The time for the
/// backlog is a part of the [drain timeout](crate::Server::set_drain_timeout), which begins with
/// the stop request. The loop ends when the queue is empty, or that time is over. Of a TCP server's
/// queue, only the clients that were in the queue at the stop request are accepted, where the
/// system counts them (Linux). Of another server's, those that come meanwhile too.
/// [`DrainReport::backlog`](crate::DrainReport::backlog) has their number. puma has the option
/// `drain_on_shutdown`; Python has no counterpart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backlog {
    /// The close of the socket resets the clients; the default, and Python's way.
    #[default]
    Close,
    /// The loop accepts and serves the clients, as many at a time as the layers and the
    /// [`Limits`](crate::Limits) allow. A handler that [waits](crate::StreamRequest::wait) serves
    /// the message that has arrived, and then ends.
    Serve,
    /// The loop accepts the clients, and [refuses](crate::Refusal::Stopping) them with the message
    /// of [`Limits::refuse_with`](crate::Limits::refuse_with), or without a message.
    Refuse,
}

impl Backlog {
    /// Every value, at the index of its discriminant.
    pub(crate) const ALL: [Self; 3] = [Self::Close, Self::Serve, Self::Refuse];
}
