//! The numbers of one server that its statistics do not have.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;

use crate::mix_ins::metrics::histogram::{Histogram, Times};
use crate::running::server_handle::ServerHandle;
use crate::transport::get_request_error::GetRequestError;
use crate::values::address::Address;
use crate::values::request_event::{HandshakeResult, Refusal, RequestEvent, TlsVersion};
use crate::values::statistics::Statistics;

/// The number of versions of a handshake that are counted apart: no version, and each version of
/// TLS.
const VERSIONS: usize = TlsVersion::ALL.len() + 1;

/// The errors of accept(2) that are counted apart, by their names. All others count as `other`.
const ACCEPT_ERRORS: [Errno; 7] = [
    Errno::EMFILE,
    Errno::ENFILE,
    Errno::ENOBUFS,
    Errno::ENOMEM,
    Errno::ECONNABORTED,
    Errno::EPERM,
    Errno::EPROTO,
];

/// Returns the name and the end of each certificate of a server.
pub(super) type Expiries = dyn Fn() -> Vec<(String, SystemTime)> + Send + Sync;

struct Certificates(Box<Expiries>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates")
    }
}

/// The numbers of one server. Every access of a counter is `Relaxed`: it orders nothing.
#[derive(Debug)]
pub(super) struct Listener {
    server: ServerHandle,
    name: OnceLock<String>,
    certificates: OnceLock<Certificates>,
    /// A counter at the index of each reason.
    refused: [AtomicU64; Refusal::ALL.len()],
    /// A counter for each of [`ACCEPT_ERRORS`], and one for all other errors.
    accept_errors: [AtomicU64; ACCEPT_ERRORS.len() + 1],
    /// A counter for each result, of each version.
    handshakes: [[AtomicU64; VERSIONS]; HandshakeResult::ALL.len()],
    /// The times from the accept to the start.
    waits: Histogram,
    /// The times from the start to the end.
    services: Histogram,
    /// The times from the accept to the end.
    connections: Histogram,
    handshake_times: Histogram,
}

impl Listener {
    pub fn new(server: ServerHandle) -> Self {
        Self {
            server,
            name: OnceLock::new(),
            certificates: OnceLock::new(),
            refused: Default::default(),
            accept_errors: Default::default(),
            handshakes: Default::default(),
            waits: Histogram::default(),
            services: Histogram::default(),
            connections: Histogram::default(),
            handshake_times: Histogram::default(),
        }
    }

    pub fn set_name(&self, name: String) {
        let _ = self.name.set(name);
    }

    pub fn set_certificates(&self, expiries: Box<Expiries>) {
        let _ = self.certificates.set(Certificates(expiries));
    }

    /// Counts the events that the statistics do not count.
    pub fn note(&self, event: &RequestEvent) {
        match *event {
            RequestEvent::Accepted => {}
            RequestEvent::Refused(why) => {
                self.refused[why as usize].fetch_add(1, Relaxed);
            }
            RequestEvent::Handshake {
                result,
                version,
                lasted,
            } => {
                let version = version.map_or(0, |version| version as usize + 1);
                self.handshakes[result as usize][version].fetch_add(1, Relaxed);
                self.handshake_times.add(lasted);
            }
            RequestEvent::Started { accepted } => self.waits.add(accepted.elapsed()),
            RequestEvent::Ended {
                accepted, started, ..
            } => {
                let now = Instant::now();
                self.connections.add(now.duration_since(accepted));
                if let Some(started) = started {
                    self.services.add(now.duration_since(started));
                }
            }
        }
    }

    /// Counts an error of `get_request`.
    pub fn note_accept_error(&self, error: &GetRequestError) {
        let number = match error {
            GetRequestError::Empty => return,
            GetRequestError::Retry(error) if error.kind() == io::ErrorKind::Interrupted => return,
            GetRequestError::Retry(error)
            | GetRequestError::Exhausted(error)
            | GetRequestError::Broken(error) => number_of(error),
        };
        self.accept_errors[number].fetch_add(1, Relaxed);
    }

    /// The label of the numbers.
    pub fn label(&self) -> String {
        match self.name.get() {
            Some(name) => name.clone(),
            None => label_of(
                &self.server.server_address(),
                self.server.shared().serves_datagrams(),
            ),
        }
    }

    /// Returns the end of each certificate, in seconds since the beginning of 1970, by its name. If
    /// several certificates have one name, the first end counts.
    fn certificates(&self) -> BTreeMap<String, f64> {
        let mut ends = BTreeMap::new();
        let Some(Certificates(expiries)) = self.certificates.get() else {
            return ends;
        };
        for (name, end) in expiries() {
            let end = end.duration_since(UNIX_EPOCH).unwrap_or_default();
            add_end(&mut ends, name, end.as_secs_f64());
        }
        ends
    }

    pub fn now(&self) -> Numbers {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let statistics = self.server.statistics();
        Numbers {
            serves_datagrams: self.server.shared().serves_datagrams(),
            statistics,
            queued: self.server.shared().places().queue_length() as u64,
            limit: self.server.limits().max_connections().map(|it| it as u64),
            is_draining: self.server.is_draining(),
            is_suspended: self.server.is_suspended(),
            certificates: self.certificates(),
            refused: self.refused.each_ref().map(load),
            accept_errors: self.accept_errors.each_ref().map(load),
            handshakes: self
                .handshakes
                .each_ref()
                .map(|of_versions| of_versions.each_ref().map(load)),
            waits: self.waits.now(),
            services: self.services.now(),
            connections: self.connections.now(),
            handshake_times: self.handshake_times.now(),
        }
    }
}

/// The index of an error's counter.
fn number_of(error: &io::Error) -> usize {
    let raw = error.raw_os_error();
    let known = ACCEPT_ERRORS.iter().position(|it| Some(*it as i32) == raw);
    known.unwrap_or(ACCEPT_ERRORS.len())
}

/// Returns the label of a server without a name: its address, in the form of a URL. So servers of
/// connections and of datagrams on one port have different labels.
fn label_of(address: &Address, serves_datagrams: bool) -> String {
    let scheme = match (address, serves_datagrams) {
        (Address::Inet(_), false) => "tcp://",
        (Address::Inet(_), true) => "udp://",
        (_, false) => "unix://",
        (_, true) => "unixgram://",
    };
    let address = address.to_string();
    let place = address.strip_prefix("unix:").unwrap_or(&address);
    format!("{scheme}{place}")
}

/// The numbers of the servers with one label, at one time.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    pub serves_datagrams: bool,
    pub statistics: Statistics,
    pub queued: u64,
    pub limit: Option<u64>,
    pub is_draining: bool,
    pub is_suspended: bool,
    pub certificates: BTreeMap<String, f64>,
    refused: [u64; Refusal::ALL.len()],
    accept_errors: [u64; ACCEPT_ERRORS.len() + 1],
    handshakes: [[u64; VERSIONS]; HandshakeResult::ALL.len()],
    pub waits: Times,
    pub services: Times,
    pub connections: Times,
    pub handshake_times: Times,
}

impl Numbers {
    /// How many requests were refused for each reason.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.refused)
    }

    /// Returns how often each error of accept(2) has occurred, if it has.
    pub fn accept_errors(&self) -> impl Iterator<Item = (String, u64)> {
        let known = ACCEPT_ERRORS.iter().map(|error| format!("{error:?}"));
        let names = known.chain(["other".to_owned()]);
        names.zip(self.accept_errors).filter(|it| it.1 > 0)
    }

    /// Returns the number of handshakes of each result and version, if there were any.
    pub fn handshakes(
        &self,
    ) -> impl Iterator<Item = (HandshakeResult, Option<TlsVersion>, u64)> + '_ {
        HandshakeResult::ALL.into_iter().flat_map(|result| {
            let versions = std::iter::once(None).chain(TlsVersion::ALL.map(Some));
            let counts = versions.zip(self.handshakes[result as usize]);
            let some = counts.filter(|(_, count)| *count > 0);
            some.map(move |(version, count)| (result, version, count))
        })
    }

    /// Adds the numbers of another server with the same label.
    pub fn add(&mut self, other: Self) {
        self.serves_datagrams |= other.serves_datagrams;
        self.statistics = [self.statistics, other.statistics].into_iter().sum();
        self.queued += other.queued;
        // If one server has no limit, the sum has none.
        self.limit = self.limit.zip(other.limit).map(|(one, other)| one + other);
        self.is_draining |= other.is_draining;
        self.is_suspended |= other.is_suspended;
        for (name, end) in other.certificates {
            add_end(&mut self.certificates, name, end);
        }
        add(&mut self.refused, other.refused);
        add(&mut self.accept_errors, other.accept_errors);
        for (sum, more) in self.handshakes.iter_mut().zip(other.handshakes) {
            add(sum, more);
        }
        self.waits += other.waits;
        self.services += other.services;
        self.connections += other.connections;
        self.handshake_times += other.handshake_times;
    }
}

fn add_end(ends: &mut BTreeMap<String, f64>, name: String, end: f64) {
    let first = ends.entry(name).or_insert(end);
    *first = first.min(end);
}

fn add<const N: usize>(sum: &mut [u64; N], more: [u64; N]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_label_of_a_server_is_its_address_as_a_url() {
        let inet = Address::from(([127, 0, 0, 1], 9999));
        assert_eq!(label_of(&inet, false), "tcp://127.0.0.1:9999");
        assert_eq!(label_of(&inet, true), "udp://127.0.0.1:9999");
        let file = Address::Unix(PathBuf::from("/run/it.sock"));
        assert_eq!(label_of(&file, false), "unix:///run/it.sock");
        assert_eq!(label_of(&file, true), "unixgram:///run/it.sock");
        let name = Address::UnixAbstract(b"it".to_vec());
        assert_eq!(label_of(&name, false), "unix://@it");
    }

    #[test]
    fn errors_of_accept_are_counted_by_their_names_and_an_empty_queue_is_none() {
        let listener = Listener::new(ServerHandle::new());
        listener.note_accept_error(&GetRequestError::Empty);
        let emfile = io::Error::from_raw_os_error(Errno::EMFILE as i32);
        listener.note_accept_error(&GetRequestError::Exhausted(emfile));
        listener.note_accept_error(&GetRequestError::Retry(io::Error::other("no agreement")));
        let counted = Vec::from_iter(listener.now().accept_errors());
        let expected = [("EMFILE".to_owned(), 1), ("other".to_owned(), 1)];
        assert_eq!(counted, expected);
    }

    #[test]
    fn the_numbers_of_two_servers_are_added_and_a_limit_needs_both() {
        let listener = Listener::new(ServerHandle::new());
        listener.note(&RequestEvent::Refused(Refusal::Stopping));
        listener.note(&RequestEvent::Handshake {
            result: HandshakeResult::Full,
            version: Some(TlsVersion::Tls13),
            lasted: Duration::from_millis(3),
        });
        let mut sum = listener.now();
        sum.limit = Some(3);
        sum.add(Numbers {
            limit: Some(4),
            ..listener.now()
        });
        assert_eq!(sum.limit, Some(7));
        let full = (HandshakeResult::Full, Some(TlsVersion::Tls13), 2);
        assert_eq!(Vec::from_iter(sum.handshakes()), [full]);
        assert_eq!(sum.handshake_times.count(), 2);
        let refused = sum.refused().find(|it| it.0 == Refusal::Stopping);
        assert_eq!(refused, Some((Refusal::Stopping, 2)));
        sum.add(Numbers {
            limit: None,
            is_draining: true,
            ..listener.now()
        });
        assert_eq!((sum.limit, sum.is_draining), (None, true));
    }
}
