//! The action of a stopping server for the clients in its backlog.

/// The action of a stopping server for the clients in its backlog: the kernel has accepted the
/// connections of these clients, and the server has not.
///
/// [`ServerHandle::set_backlog`](crate::ServerHandle::set_backlog) sets the value. The time for the
/// backlog is a part of the [drain timeout](crate::Server::set_drain_timeout), which begins with
/// the stop request. The loop ends when the backlog is empty, or that time is over. On Linux, which
/// counts the backlog of a TCP server, the server accepts only the clients that were in the backlog
/// at the stop request. In all other cases it also accepts the clients that come meanwhile.
/// [`DrainReport::backlog`](crate::DrainReport::backlog) has their number. puma has the option
/// `drain_on_shutdown`; Python has no counterpart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backlog {
    /// The close of the socket resets the connections of these clients. This is the default, and
    /// Python's servers do the same.
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
