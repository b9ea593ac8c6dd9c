//! A server as its clients see it: where it is, what they did there, when to stop, what went wrong.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use socket2::SockAddr;

use support::tls_clients::TlsClients;

use crate::kinds::Kind;

/// The longest that anything may take which is expected to happen; what exceeds it is a failure.
pub const LIMIT: Duration = Duration::from_secs(30);

/// One server, which may come and go.
#[derive(Debug)]
pub struct Site<'a> {
    pub kind: Kind,
    /// Where clients put their own socket files.
    pub directory: PathBuf,
    /// Where the server is. `None` while it is closed and somebody else may get its port.
    pub address: Mutex<Option<SockAddr>>,
    /// The clients of servers with TLS, which know the certificate.
    pub tls_clients: &'a TlsClients,
    pub tally: Tally,
    pub stop: &'a Stop,
    pub failures: &'a Failures,
}

impl Site<'_> {
    pub fn address(&self) -> Option<SockAddr> {
        self.address.lock().expect("nobody panics there").clone()
    }

    pub fn set_address(&self, address: Option<SockAddr>) {
        *self.address.lock().expect("nobody panics there") = address;
    }

    pub fn count(&self, what: Count, how_many: u64) {
        self.tally.0[what as usize].fetch_add(how_many, SeqCst);
    }

    pub fn counted(&self, what: Count) -> u64 {
        self.tally.0[what as usize].load(SeqCst)
    }

    /// Writes down that something is not as it should be.
    pub fn fail(&self, what: impl Display) {
        self.failures.add(format!("{}: {what}", self.kind));
    }

    /// Waits for up to so many milliseconds, or until the clients are to stop.
    pub fn pause(&self, milliseconds: u64) {
        self.stop.wait(Duration::from_millis(milliseconds));
    }
}

/// What is counted of the clients of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Connections that were asked for, or datagrams sent.
    Attempts,
    /// Right answers that good clients got.
    Exchanges,
    /// Connections on which a good client got a right answer.
    GoodConnections,
    /// Bytes of answers that were compared with what they should be.
    Bytes,
    /// Conversations of good clients that the server did not let come to their end.
    CutShort,
    /// Good clients that were told that there are too many.
    Refused,
    /// Datagrams of good clients without an answer in time.
    Lost,
    Slow,
    Broken,
    Hostile,
    /// Handlers that were told to panic.
    Panics,
    /// Children that were killed, from inside or outside.
    Kills,
}

const COUNTS: usize = Count::Kills as usize + 1;

#[derive(Debug, Default)]
pub struct Tally([AtomicU64; COUNTS]);

/// Tells the clients of a phase that it is over.
#[derive(Debug, Default)]
pub struct Stop {
    is_set: AtomicBool,
    lock: Mutex<()>,
    told: Condvar,
}

impl Stop {
    pub fn is_set(&self) -> bool {
        self.is_set.load(SeqCst)
    }

    pub fn set(&self, stop: bool) {
        let _lock = self.lock.lock().expect("nobody panics there");
        self.is_set.store(stop, SeqCst);
        self.told.notify_all();
    }

    /// Waits until it is set, or the time is over.
    pub fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut lock = self.lock.lock().expect("nobody panics there");
        while !self.is_set() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.told.wait_timeout(lock, left);
            lock = woken.expect("nobody panics there").0;
        }
    }
}

/// What is not as it should be.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Vec<String>>);

impl Failures {
    /// Of what goes wrong all the time, the first are enough.
    const MOST_SHOWN: usize = 50;

    pub fn add(&self, failure: String) {
        let mut failures = self.0.lock().expect("nobody panics there");
        if failures.len() < Self::MOST_SHOWN {
            eprintln!("soak: FAILURE: {failure}");
        }
        failures.push(failure);
    }

    pub fn count(&self) -> usize {
        self.0.lock().expect("nobody panics there").len()
    }

    pub fn first(&self) -> Option<String> {
        let failures = self.0.lock().expect("nobody panics there");
        failures.first().cloned()
    }
}
