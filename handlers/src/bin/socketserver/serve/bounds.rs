//! How many clients a server serves at a time, and for how long.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum};
use socketserver::{Backlog, BaseServer, Deadlines, Limits, Server};

use crate::amounts;
use crate::failure::Failure;
use crate::registry::Times;
use crate::url::Url;

/// The options that bound a server, whatever it serves.
#[derive(Debug, Args)]
pub struct BoundOptions {
    /// How many connections, or datagrams, are served at a time; the others wait
    ///
    /// Unless set it is nine tenths of the descriptors that the process may open ("ulimit -n").
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// How many connections, or datagrams, of one IP address are served at a time
    ///
    /// The others are closed. Clients over Unix sockets have no IP address.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections_per_address: Option<u32>,

    /// Send the clients above either of these limits this text, and close them
    ///
    /// Without this option those above --max-connections wait. The text is sent as it is, before
    /// a handshake of TLS not at all.
    #[arg(long, value_name = "TEXT")]
    refuse_with: Option<OsString>,

    /// How many bits of an IPv6 address --max-connections-per-address looks at: 64 unless set
    ///
    /// A client usually has all addresses of a network of 64 bits.
    #[arg(long, value_name = "BITS", requires = "max_connections_per_address",
        value_parser = clap::value_parser!(u8).range(0..=128))]
    ipv6_prefix: Option<u8>,

    /// How long a client may keep its connection waiting, in seconds, or "none": 300 unless set
    ///
    /// The connection is closed if for so long the client has not sent its first byte, its next
    /// message or the rest of a message, or has not read what was sent.
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    idle_timeout: Option<Patience>,

    /// How long a message or an answer may make no progress, in seconds; it has no other bound then
    ///
    /// For large files and slow networks: a connection is closed if for so long no byte of the
    /// message or the answer under way has moved. Without this option each message, and each
    /// answer, has the time of --idle-timeout as a whole; for http this option is 60 unless set.
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds)]
    progress_timeout: Option<Duration>,

    /// How long a connection may last, in seconds, whatever its client does; no bound unless set
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds)]
    lifetime: Option<Duration>,

    /// How long a connection may last while other clients wait for its place; no bound unless set
    ///
    /// In seconds. Then the connection is closed after the answer under way. So a client that never
    /// stops leaves its place to the others, with each mix-in and with none.
    #[arg(long, value_name = "SECONDS", value_parser = amounts::seconds)]
    turn: Option<Duration>,

    /// How long running requests have when the server stops, in seconds, or "none": 30 unless set
    ///
    /// Idle connections are closed at once. Requests that still run at the end of this time are
    /// aborted; "none" waits without end. The last line on standard error has the number of each.
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    drain_timeout: Option<Patience>,

    /// What becomes of clients that wait to be accepted when the server stops
    ///
    /// They are reset unless set. "serve" and "refuse" accept them within the drain timeout.
    #[arg(long, value_enum, value_name = "WHAT")]
    drain_backlog: Option<DrainBacklog>,
}

/// What to do with the clients in the kernel's queue.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DrainBacklog {
    /// They are served
    Serve,
    /// Their connections are closed in good order
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

/// The bounds of one server.
#[derive(Debug, Clone)]
pub struct Bounds {
    limits: Limits,
    deadlines: Deadlines,
    drain_timeout: Option<Patience>,
    drain_backlog: Option<DrainBacklog>,
}

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
    /// gives others.
    ///
    /// # Errors
    ///
    /// If one of the options is for another transport than that of every URL, or for exchanges that
    /// the handler does not have.
    pub fn over(&self, urls: &[Url], times: Times) -> Result<Bounds, Failure> {
        if self.turn.is_some() && !times.has_exchanges {
            return Err(Failure::usage(
                "--turn ends a connection between two exchanges, which a program does not have; \
                 --lifetime ends it in any case",
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
        Ok(Bounds {
            limits: self.limits(),
            deadlines: self.deadlines(times),
            drain_timeout: self.drain_timeout,
            drain_backlog: self.drain_backlog,
        })
    }

    fn limits(&self) -> Limits {
        let usize = |max| usize::try_from(max).unwrap_or(usize::MAX);
        let mut limits = Limits::default();
        if let Some(max) = self.max_connections {
            limits = limits.with_max_connections(usize(max));
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
        // A client that has not prepared its connection keeps no program.
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
