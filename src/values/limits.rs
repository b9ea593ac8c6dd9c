//! How many requests a server has at a time.

use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};

/// The most that a server serves at a time, with every mix-in and transport.
///
/// A connection counts from when it is accepted until it is closed, a datagram until its handler
/// has ended, a forked child until it has been collected.
///
/// Unless set with [`ServerHandle::set_limits`](crate::ServerHandle::set_limits) a server has the
/// [default](Self::default). Changing them while it runs takes effect at once; what runs already is
/// left alone.
///
/// ```
/// use socketserver::{Limits, ThreadingTcpServer};
/// # use socketserver::{HandlerResult, RequestHandler, StreamRequest};
/// # struct Nothing;
/// # impl RequestHandler for Nothing {
/// #     fn handle(&mut self, _: &mut StreamRequest) -> HandlerResult { Ok(()) }
/// # }
///
/// let server = ThreadingTcpServer::bind("127.0.0.1:0", || Nothing)?;
/// let limits = Limits::none().max_connections(1000).max_connections_per_address(20);
/// server.handle().set_limits(limits.refuse_with("too busy, try again later\n"));
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_connections_per_address: Option<usize>,
    pub(crate) refusal: Option<Arc<[u8]>>,
}

impl Limits {
    /// No limits: as many as the system gives threads, processes and descriptors for.
    pub fn none() -> Self {
        Self {
            max_connections: None,
            max_connections_per_address: None,
            refusal: None,
        }
    }

    /// At most so many connections, or datagrams, at a time.
    ///
    /// At the limit the loop accepts no more, and goes on as soon as one ends. The others wait in
    /// the kernel's queue ([`request_queue_size`](crate::TcpServer::request_queue_size)), unless they
    /// are to be [refused](Self::refuse_with). 0 serves none, until another limit is set.
    pub fn max_connections(self, max: usize) -> Self {
        let max_connections = Some(max);
        Self {
            max_connections,
            ..self
        }
    }

    /// At most so many of them from one IP address; clients over Unix sockets have none, and are not
    /// bounded by this.
    ///
    /// The address is known when a connection has been accepted, so one above this limit is refused:
    /// closed, after the message of [`refuse_with`](Self::refuse_with) if there is one. Clients
    /// behind one router or proxy share its address.
    pub fn max_connections_per_address(self, max: usize) -> Self {
        let max_connections_per_address = Some(max);
        Self {
            max_connections_per_address,
            ..self
        }
    }

    /// Refuses what is above a limit instead of letting it wait: accepts it, sends it this message,
    /// which may be empty, and closes it.
    ///
    /// The message is sent as far as the connection takes it at once, and never waited for: a few
    /// kilobytes arrive, of a longer one perhaps a part. A client that has sent much before it reads
    /// may see a reset instead.
    pub fn refuse_with(self, message: impl AsRef<[u8]>) -> Self {
        let refusal = Some(message.as_ref().into());
        Self { refusal, ..self }
    }

    /// Whether what is above `max_connections` waits in the kernel.
    pub(crate) fn lets_wait(&self) -> bool {
        self.refusal.is_none()
    }
}

/// Nine tenths of the descriptors that the process may open (`ulimit -n`, when the server is made)
/// as [`max_connections`](Limits::max_connections), so that some are left for what handlers open;
/// nothing else is bounded. With 1024 descriptors these are 921 connections.
impl Default for Limits {
    fn default() -> Self {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let max = usize::try_from(descriptors).unwrap_or(usize::MAX);
        Self::none().max_connections(max - max.div_ceil(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_some_descriptors_are_left_for_other_uses() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let max = Limits::default().max_connections.unwrap() as u64;
        assert!(max < soft && max >= soft / 10 * 8);
    }
}
