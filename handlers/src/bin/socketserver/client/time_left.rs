//! The time of an exchange.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::url::HostPort;

/// The time for which an exchange may still wait for its server. All waits of an exchange together
/// have this time, so that a server that sends single bytes cannot keep the client waiting. The
/// time in which the user types or reads does not count.
#[derive(Debug)]
pub struct TimeLeft {
    limit: Duration,
    left: Duration,
}

impl TimeLeft {
    pub fn new(limit: Duration) -> Self {
        Self { limit, left: limit }
    }

    /// Begins another exchange, which has the whole time.
    pub fn begin(&mut self) {
        self.left = self.limit;
    }

    /// Calls `wait` with the time that is left, and subtracts the time that the call takes.
    ///
    /// # Errors
    ///
    /// Returns the errors of `wait`, and [`TimedOut`](ErrorKind::TimedOut) if no time is left.
    pub fn spend<T>(&mut self, wait: impl FnOnce(Duration) -> io::Result<T>) -> io::Result<T> {
        if self.left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        let begin = Instant::now();
        let done = wait(self.left);
        self.left = self.left.saturating_sub(begin.elapsed());
        done
    }

    /// Looks up the addresses of a host. No program can shorten the time-outs of the system's
    /// resolver, so a thread waits for the resolver.
    ///
    /// # Errors
    ///
    /// Returns the errors of the look-up, and [`TimedOut`](ErrorKind::TimedOut).
    pub fn look_up(&mut self, place: &HostPort) -> io::Result<Vec<SocketAddr>> {
        let place = place.clone();
        self.spend(|left| {
            let (found, addresses) = mpsc::channel();
            let thread = thread::Builder::new().name("look-up".to_owned());
            // The receiver no longer waits if the time is over.
            thread.spawn(move || found.send(place.addresses()))?;
            let late = "the name look-up has not ended in time; check the name servers";
            let timed_out = |_| Err(io::Error::new(ErrorKind::TimedOut, late));
            addresses.recv_timeout(left).unwrap_or_else(timed_out)
        })
    }
}

/// A stream on which exchanges follow one another.
pub trait Exchanges: Read + Write {
    /// Begins an exchange, which has the whole time.
    fn begin_exchange(&mut self);
}

/// A mock has no clock.
#[cfg(test)]
impl Exchanges for socketserver::StreamRequest {
    fn begin_exchange(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_waits_of_an_exchange_together_have_its_time() {
        let limit = Duration::from_millis(50);
        let mut time = TimeLeft::new(limit);
        let mut waits = 0;
        let error = loop {
            let wait = |left: Duration| {
                assert!(left <= limit);
                thread::sleep(Duration::from_millis(5));
                Ok(())
            };
            match time.spend(wait) {
                Ok(()) => waits += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((1..=10).contains(&waits), "{waits}");
        time.begin();
        assert_eq!(time.spend(Ok).unwrap(), limit);
    }
}
