//! The bounds of the number of requests that a server has at a time.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};

/// The most requests that a server serves at a time, with every mix-in and transport.
///
/// A connection counts from its accept to its close. A datagram counts until its handler has ended,
/// and a forked child until the parent has collected it.
///
/// A server has the [default](Self::default) limits until
/// [`ServerHandle::set_limits`](crate::ServerHandle::set_limits) sets others. A change takes effect
/// at once, for new requests; requests that run go on. Python has no limits, except for
/// [`max_children`](crate::ForkingMixIn::max_children).
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
/// let limits = Limits::none()
///     .with_max_connections(1000)
///     .with_max_connections_per_address(20)
///     .refuse_with("too busy, try again later\n");
/// server.handle().set_limits(limits);
/// # Ok::<(), socketserver::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    max_connections: Option<usize>,
    max_connections_per_address: Option<usize>,
    ipv6_prefix: u8,
    refusal: Option<Arc<[u8]>>,
    turn: Option<Duration>,
}

impl Limits {
    /// Makes a value without limits: the server serves as many requests as the system has threads,
    /// processes and descriptors for.
    pub fn none() -> Self {
        Self {
            max_connections: None,
            max_connections_per_address: None,
            ipv6_prefix: 64,
            refusal: None,
            turn: None,
        }
    }

    /// The most connections, or datagrams, at a time; `None` is no limit.
    pub fn max_connections(&self) -> Option<usize> {
        self.max_connections
    }

    /// Sets [`max_connections`](Self::max_connections). 0 serves no request until another limit is
    /// set.
    ///
    /// At the limit the loop stops accepting, and goes on as soon as a request ends. New clients
    /// wait in the backlog ([`request_queue_size`](crate::TcpServer::request_queue_size)). With
    /// [`refuse_with`](Self::refuse_with) they are refused instead.
    pub fn with_max_connections(self, max: usize) -> Self {
        let max_connections = Some(max);
        Self {
            max_connections,
            ..self
        }
    }

    /// The most connections, or datagrams, from one IP address, or from one
    /// [prefix](Self::ipv6_prefix) of IPv6 addresses, at a time; `None` is no limit.
    pub fn max_connections_per_address(&self) -> Option<usize> {
        self.max_connections_per_address
    }

    /// Sets [`max_connections_per_address`](Self::max_connections_per_address). Clients over Unix
    /// sockets have no IP address, so this limit does not bound them.
    ///
    /// A connection above this limit is refused, since the address is known only after the accept.
    /// The client receives the message of [`refuse_with`](Self::refuse_with), if set, and the
    /// connection is closed. Clients behind one router or proxy share its address.
    pub fn with_max_connections_per_address(self, max: usize) -> Self {
        let max_connections_per_address = Some(max);
        Self {
            max_connections_per_address,
            ..self
        }
    }

    /// How long a connection may last while other clients wait for its place; `None` is no bound.
    pub fn turn(&self) -> Option<Duration> {
        self.turn
    }

    /// Sets [`turn`](Self::turn), so that clients that never stop do not starve the others.
    ///
    /// When a connection has had its turn and another client waits, the handler's next
    /// [`wait`](crate::StreamRequest::wait) returns false, as at a drain.
    /// [`next_line`](crate::StreamRequest::next_line) and its siblings return `None`, whatever has
    /// arrived. So the answer under way is complete, and the client may connect again, and then
    /// waits behind the others. The turn begins with the first wait, so a connection has at least
    /// one exchange. While no other client waits, the turn has no effect.
    ///
    /// With every mix-in, other clients may wait for a place:
    ///
    /// * without a mix-in, for the end of the only connection;
    /// * at [`max_connections`](Self::max_connections);
    /// * for a worker of a [pool](crate::ThreadPoolMixIn);
    /// * at [`max_children`](crate::ForkingMixIn::max_children), where the parent ends the turn of
    ///   one child after another with `SIGTERM`.
    ///
    /// The turn does not end a handler that never waits between two messages. A client that is
    /// silent keeps its place until the [idle deadline](crate::Deadlines::idle).
    ///
    /// After its turn, a connection costs one more poll(2) for each exchange, which finds out
    /// whether a client waits.
    pub fn with_turn(self, turn: Duration) -> Self {
        let turn = Some(turn);
        Self { turn, ..self }
    }

    /// The number of leading bits that IPv6 addresses have in common if they count as one address
    /// for [`max_connections_per_address`](Self::max_connections_per_address); 64 unless set.
    pub fn ipv6_prefix(&self) -> u8 {
        self.ipv6_prefix
    }

    /// Sets [`ipv6_prefix`](Self::ipv6_prefix), in bits. With 128, each address counts by itself,
    /// and a greater number counts as 128.
    ///
    /// Providers assign a client at least a network of 64 bits, in which the client may use any of
    /// 2^64 addresses. So a limit on each address would bound nothing. Many clients have a network
    /// of 56 or 48 bits. Two kinds of IPv6 addresses do not count by their prefix:
    ///
    /// * an IPv4 address in the form of an IPv6 address (`::ffff:192.0.2.1`), which counts as the
    ///   IPv4 address; also behind the well-known prefix of translators (`64:ff9b::192.0.2.1`),
    /// * a link-local address (`fe80::/10`), which counts by itself: all machines of a link have
    ///   the same prefix.
    pub fn with_ipv6_prefix(self, bits: u8) -> Self {
        let ipv6_prefix = bits.min(128);
        Self {
            ipv6_prefix,
            ..self
        }
    }

    /// The message for refused clients; `None` if [`refuse_with`](Self::refuse_with) is not set.
    pub fn refusal(&self) -> Option<&[u8]> {
        self.refusal.as_deref()
    }

    /// Refuses clients above a limit: accepts the client, sends this message, which may be empty,
    /// and closes the connection.
    ///
    /// Without this setting, clients above [`max_connections`](Self::max_connections) wait in the
    /// backlog. The connections of clients above
    /// [`max_connections_per_address`](Self::max_connections_per_address) are closed without a
    /// message.
    ///
    /// The server sends as much of the message as the connection takes without waiting, usually a
    /// few kilobytes. So a longer message may arrive in part. Then the connection
    /// [lingers](crate::Lingering), so that a client that still sends reads the message too.
    ///
    /// The sender of refused datagrams receives the message at most 100 times until it pauses for
    /// half a second. At most 4096 senders receive the message at a time. Without these bounds, two
    /// full servers would answer each other's messages without end.
    pub fn refuse_with(self, message: impl AsRef<[u8]>) -> Self {
        let refusal = Some(message.as_ref().into());
        Self { refusal, ..self }
    }

    /// The message of [`refuse_with`](Self::refuse_with), shared; empty if not set.
    pub(crate) fn shared_refusal(&self) -> Arc<[u8]> {
        self.refusal.clone().unwrap_or_default()
    }
}

/// [`max_connections`](Limits::max_connections) is nine tenths of the descriptors that the process
/// may open (`ulimit -n`, at the time of the call), so that handlers have the rest. With 1024
/// descriptors the limit is 921 connections. There is no limit per address, and no message.
impl Default for Limits {
    fn default() -> Self {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let max = usize::try_from(descriptors).unwrap_or(usize::MAX);
        Self::none().with_max_connections(max - max.div_ceil(10))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn by_default_some_descriptors_are_left_for_other_uses() {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let max = Limits::default().max_connections().unwrap() as u64;
        assert!(max < soft && max >= soft / 10 * 8);
    }
}
