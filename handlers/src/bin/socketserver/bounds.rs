//! How much of a server its clients may have, and for how long.

use std::time::Duration;

use clap::Args;
use socketserver::{BaseServer, Deadlines, Limits, Server};

use crate::amounts;
use crate::url::Url;

/// How long a client may keep its connection waiting, unless the user says otherwise.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The options that bound a server, whatever it serves.
#[derive(Debug, Args)]
pub struct Bounds {
    /// How many connections, or datagrams, are served at a time; the others wait
    ///
    /// Unless set it is nine tenths of the descriptors that the process may open ("ulimit -n").
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: Option<u32>,

    /// How long a client may keep its connection waiting, in seconds, or "none": 300 unless set
    ///
    /// The connection is closed if for so long the client has not sent its first byte, or its next
    /// message, or the rest of one, or not taken what was sent to it.
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    idle_timeout: Option<Patience>,

    /// How long running requests have when the server stops, in seconds, or "none": 30 unless set
    ///
    /// Idle connections are closed at once. What still runs then is cut off; "none" waits without
    /// end. The last line on standard error says how many there were of each.
    #[arg(long, value_name = "SECONDS", value_parser = patience)]
    drain_timeout: Option<Patience>,
}

/// A time, or no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    For(Duration),
    WithoutEnd,
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

impl Bounds {
    /// Whether they make sense for a server on `url`.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn check(&self, url: &Url) -> Result<(), String> {
        match url {
            Url::Udp(_) | Url::Unixgram(_) if self.idle_timeout.is_some() => Err(format!(
                "--idle-timeout is for connections, and {} has none",
                url.scheme()
            )),
            _ => Ok(()),
        }
    }

    /// Puts them on a server that does not serve yet.
    pub fn apply<S: BaseServer>(&self, server: &mut Server<S>) {
        if let Some(max) = self.max_connections {
            let max = usize::try_from(max).unwrap_or(usize::MAX);
            server
                .handle()
                .set_limits(Limits::default().max_connections(max));
        }
        match self.idle_timeout {
            None => server.handle().set_deadlines(Deadlines::each(IDLE_TIMEOUT)),
            Some(Patience::For(limit)) => server.handle().set_deadlines(Deadlines::each(limit)),
            Some(Patience::WithoutEnd) => {}
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
