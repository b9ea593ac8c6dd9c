//! How many clients a server serves at a time, and for how long.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::{Args, ValueEnum};
use socket2::{SockRef, TcpKeepalive};
use socketserver::{Backlog, BaseServer, Deadlines, Limits, Server};

use crate::amounts;
use crate::failure::Failure;
use crate::registry::Times;
use crate::url::Url;

/// The options that bound a server, whatever it serves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits and deadlines")]
pub struct BoundOptions {
    /// How many connections, or datagrams, are served at a time; further clients wait
    ///
    /// The default is nine tenths of the file descriptors that the process may open: 921 if "ulimit
    /// -n" is 1024.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// How many connections, or datagrams, of one IP address are served at a time
    ///
    /// Further connections of the address are accepted and closed. There is no such limit unless
    /// this option sets it. Clients over Unix sockets have no IP address.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections_per_address: Option<u32>,

    /// Text that is sent to clients above one of the two limits, before they are closed
    ///
    /// With this option the clients above --max-connections do not wait, but are refused. The text
    /// is sent as it is, so a line end has to be part of it, as in $'too busy\n' of a shell. Over
    /// TLS no text is sent, since the handshake comes later.
    #[arg(long, value_name = "TEXT")]
    refuse_with: Option<OsString>,

    /// How many leading bits of an IPv6 address --max-connections-per-address compares [default:
    /// 64]
    ///
    /// From 0 to 128. Addresses that have these bits in common count as one address, since a client
    /// usually has a whole network of 64 bits.
    #[arg(long, value_name = "BITS", requires = "max_connections_per_address",
        value_parser = clap::value_parser!(u8).range(0..=128))]
    ipv6_prefix: Option<u8>,

    /// How long a client may keep its connection waiting, in seconds, or "none" [default: 300]
    ///
    /// The server closes the connection if the client takes longer to send its first byte, its next
    /// message or the rest of a message, or to read an answer.
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    idle_timeout: Option<Patience>,

    /// How long a message may make no progress, in seconds [default for http and files: 60]
    ///
    /// For large files and slow networks. The server closes a connection if no byte of the message
    /// or the answer under way has moved for this time; the message or the answer has no other
    /// bound then. Without this option and its default, each message, and each answer, has to be
    /// complete within --idle-timeout.
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds)]
    progress_timeout: Option<Duration>,

    /// How long a connection may last, in seconds, whatever its client does [default: no bound]
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds)]
    lifetime: Option<Duration>,

    /// How long a connection may last while other clients wait, in seconds [default: no bound]
    ///
    /// A connection that has lasted longer is closed when another client waits for its place: after
    /// the answer under way, and never in the middle of a message. So a client that never stops
    /// leaves its place to the others, with every mix-in.
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds)]
    turn: Option<Duration>,

    /// How long running requests have when the server stops, in seconds, or "none" [default: 30]
    ///
    /// The server closes idle connections at once, and aborts the requests that still run after
    /// this time. With "none" it waits until they end. The last line on standard error has the
    /// numbers.
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    drain_timeout: Option<Patience>,

    /// What happens to clients in the backlog when the server stops
    ///
    /// The backlog has the clients that have connected, and that the server has not accepted yet.
    /// Without this option their connections are reset. With "serve" or "refuse" the server accepts
    /// them, within --drain-timeout.
    #[arg(long, value_enum, value_name = "WHAT")]
    drain_backlog: Option<DrainBacklog>,
}

/// What to do with the clients in the backlog.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DrainBacklog {
    /// Accept and serve them
    Serve,
    /// Accept them, and close their connections in good order
    Refuse,
}

/// How long a handshake or a header may take if the handler bounds no idle client.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);

/// A time, or no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    For(Duration),
    WithoutEnd,
}

/// The descriptors that a client needs, if the deadlines of its connection require a relay or not.
type Share<'a> = &'a dyn Fn(bool) -> Result<usize, Failure>;

/// The bounds of one server.
#[derive(Debug, Clone)]
pub struct Bounds {
    limits: Limits,
    deadlines: Deadlines,
    drain_timeout: Option<Patience>,
    drain_backlog: Option<DrainBacklog>,
    keepalive: Option<Duration>,
}

/// The time between two questions whether a silent client's machine is still there, and how many
/// remain without an answer until the connection ends.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

fn patience(text: &str) -> Result<Patience, String> {
    if text == "none" {
        return Ok(Patience::WithoutEnd);
    }
    match amounts::seconds(text) {
        Ok(time) => Ok(Patience::For(time)),
        Err(message) => Err(format!("{message}, or \"none\"")),
    }
}

impl BoundOptions {
    /// The bounds of each server on one of `urls`, whose handler has these times unless the user
    /// gives others. `share` returns the descriptors that a client needs, with a relay or without,
    /// for the default of --max-connections.
    ///
    /// # Errors
    ///
    /// If one of the options is for another transport than that of every URL, or for exchanges that
    /// the handler does not have.
    pub fn over(&self, urls: &[Url], times: Times, share: Share<'_>) -> Result<Bounds, Failure> {
        if self.turn.is_some() && !times.has_exchanges {
            return Err(Failure::usage(
                "--turn ends a connection between two exchanges, and a program has no exchanges; \
                 give --lifetime, which ends the program at any moment",
            ));
        }
        let for_connections = [
            ("--idle-timeout", self.idle_timeout.is_some()),
            ("--progress-timeout", self.progress_timeout.is_some()),
            ("--lifetime", self.lifetime.is_some() && times.has_exchanges),
            ("--turn", self.turn.is_some()),
        ];
        let given = for_connections.iter().find(|(_, is_given)| *is_given);
        if let (Some((option, _)), Some(url)) = (given, urls.first())
            && !urls.iter().any(Url::has_connections)
        {
            return Err(Failure::no_connections(option, url));
        }
        let deadlines = self.deadlines(times);
        // The same deadlines make the handler of a program relay.
        let of_idle = [deadlines.idle(), deadlines.progress(), deadlines.write()];
        let descriptors = share(of_idle.iter().any(Option::is_some))?;
        Ok(Bounds {
            limits: self.limits(descriptors),
            deadlines,
            drain_timeout: self.drain_timeout,
            drain_backlog: self.drain_backlog,
            keepalive: times.keepalive,
        })
    }

    fn limits(&self, descriptors: usize) -> Limits {
        let usize = |max| usize::try_from(max).unwrap_or(usize::MAX);
        let mut limits = Limits::default();
        if let Some(max) = self.max_connections {
            limits = limits.with_max_connections(usize(max));
        } else if let Some(max) = limits.max_connections() {
            limits = limits.with_max_connections((max / descriptors).max(1));
        }
        if let Some(max) = self.max_connections_per_address {
            limits = limits.with_max_connections_per_address(usize(max));
        }
        if let Some(bits) = self.ipv6_prefix {
            limits = limits.with_ipv6_prefix(bits);
        }
        if let Some(text) = &self.refuse_with {
            limits = limits.refuse_with(text.as_encoded_bytes());
        }
        match self.turn {
            None => limits,
            Some(turn) => limits.with_turn(turn),
        }
    }

    fn deadlines(&self, times: Times) -> Deadlines {
        let idle = match self.idle_timeout {
            None => times.idle,
            Some(Patience::For(limit)) => Some(limit),
            Some(Patience::WithoutEnd) => None,
        };
        let deadlines = match (idle, self.progress_timeout.or(times.progress)) {
            (None, None) => Deadlines::none(),
            (Some(limit), None) => Deadlines::uniform(limit),
            (None, Some(progress)) => Deadlines::none().with_progress(progress),
            (Some(limit), Some(progress)) => Deadlines::none()
                .with_prepare(limit)
                .with_first_byte(limit)
                .with_idle(limit)
                .with_progress(progress),
        };
        // A client whose connection is not prepared yet has no program.
        let deadlines = match self.idle_timeout {
            None if idle.is_none() => deadlines.with_prepare(PREPARE_TIMEOUT),
            _ => deadlines,
        };
        match self.lifetime {
            None => deadlines,
            Some(limit) => deadlines.with_lifetime(limit),
        }
    }
}

impl Bounds {
    /// Sets the bounds of a server that does not serve yet.
    pub fn apply<S: BaseServer>(&self, server: &Server<S>) {
        server.handle().set_limits(self.limits.clone());
        server.handle().set_deadlines(self.deadlines);
        if let Some(backlog) = self.drain_backlog {
            server.handle().set_backlog(match backlog {
                DrainBacklog::Serve => Backlog::Serve,
                DrainBacklog::Refuse => Backlog::Refuse,
            });
        }
        match self.drain_timeout {
            None => {}
            Some(Patience::For(timeout)) => server.set_drain_timeout(Some(timeout)),
            Some(Patience::WithoutEnd) => server.set_drain_timeout(None),
        }
        if let (Some(silence), Some(_)) = (self.keepalive, server.local_addr()) {
            let keepalive = TcpKeepalive::new()
                .with_time(silence)
                .with_interval(KEEPALIVE_INTERVAL)
                .with_retries(KEEPALIVE_RETRIES);
            // The connections inherit it. Without it they have their deadlines.
            if let Err(error) = SockRef::from(&server.as_fd()).set_tcp_keepalive(&keepalive) {
                log::warn!("cannot set the keepalive of TCP: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_seconds_or_without_end() {
        let half = Patience::For(Duration::from_millis(500));
        assert_eq!(patience("0.5"), Ok(half));
        assert_eq!(patience("none"), Ok(Patience::WithoutEnd));
        let refused = patience("never").unwrap_err();
        assert!(refused.ends_with("or \"none\""), "{refused}");
    }
}
