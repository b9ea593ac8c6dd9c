//! The names of a client and of the server's own address, by the system's resolver.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use dns_lookup::getnameinfo;
use nix::libc::{NI_NAMEREQD, NI_NUMERICSERV};

/// The most lookups at a time, including those whose handler no longer waits. Each has a thread,
/// and the resolver may take half a minute.
const MOST_LOOKUPS: usize = 128;

/// Looks up the names of addresses, each in a thread of its own. A clone counts the same threads.
#[derive(Debug, Clone)]
pub(super) struct Names {
    within: Duration,
    running: Arc<AtomicUsize>,
    resolve: fn(IpAddr) -> Option<String>,
}

impl Names {
    /// Looks up names, and waits for them no longer than `within`.
    pub(super) fn new(within: Duration) -> Self {
        Self {
            within,
            running: Arc::default(),
            resolve: confirmed_name,
        }
    }

    /// The names of these addresses, which are looked up at the same time. An address has `None` if
    /// it has no name, or if its name does not arrive in time.
    pub(super) fn of<const N: usize>(&self, addresses: [Option<IpAddr>; N]) -> [Option<String>; N] {
        let begun = Instant::now();
        // A server on every address may not know which address a client has used.
        let is_one = |address: &IpAddr| !address.is_unspecified();
        let lookups = addresses.map(|address| self.begin(address.filter(is_one)?));
        lookups.map(|lookup| {
            let left = self.within.saturating_sub(begun.elapsed());
            // An error: the time is over, or the lookup has panicked.
            lookup?.recv_timeout(left).ok()?
        })
    }

    /// Begins a lookup, unless too many run.
    fn begin(&self, address: IpAddr) -> Option<Receiver<Option<String>>> {
        let counted = Counted::new(&self.running);
        if counted.before >= MOST_LOOKUPS {
            log::debug!(
                "{address}: no name is looked up, because {MOST_LOOKUPS} lookups still run"
            );
            return None;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let resolve = self.resolve;
        let look_up = move || {
            let _counted = counted;
            // An error is ignored: the handler no longer waits for the name.
            let _ = sender.send(resolve(address));
        };
        let started = thread::Builder::new().name("lookup".to_owned());
        let started = started.spawn(look_up);
        let started = started.inspect_err(|error| {
            log::debug!(
                "{address}: no name is looked up, because no thread can be started: {error}"
            );
        });
        started.ok().map(|_| receiver)
    }
}

/// A place among the lookups that run.
struct Counted {
    running: Arc<AtomicUsize>,
    before: usize,
}

impl Counted {
    fn new(running: &Arc<AtomicUsize>) -> Self {
        // Relaxed, here and at the end: a count orders nothing.
        let before = running.fetch_add(1, Ordering::Relaxed);
        Self {
            running: running.clone(),
            before,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The name of an address, in lower case, if the name has the address in turn. The owner of an
/// address may give the address the name of somebody else's host.
fn confirmed_name(address: IpAddr) -> Option<String> {
    let address = address.to_canonical();
    let socket = SocketAddr::new(address, 0);
    // Without `NI_NAMEREQD` an address without a name would have itself as its name.
    let (name, _) = getnameinfo(&socket, NI_NAMEREQD | NI_NUMERICSERV).ok()?;
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if !is_host_name(&name) {
        return None;
    }
    let mut addresses = (name.as_str(), 0).to_socket_addrs().ok()?;
    let is_confirmed = addresses.any(|it| it.ip().to_canonical() == address);
    is_confirmed.then_some(name)
}

/// Whether the name is a host name: no character is special in a shell, and the name is not an IP
/// address.
fn is_host_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty()
        && name.len() <= 253
        && !name.starts_with('-')
        && name.bytes().all(is_letter)
        && name.parse::<IpAddr>().is_err()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Mutex;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn names(within: Duration, resolve: fn(IpAddr) -> Option<String>) -> Names {
        Names {
            resolve,
            ..Names::new(within)
        }
    }

    fn wait_for_end(names: &Names) {
        while names.running.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn each_address_has_its_own_name_or_none() {
        let names = names(Duration::MAX, |address| {
            (address != REMOTE).then(|| address.to_string())
        });
        let expected = [Some("127.0.0.1".to_owned()), None, None];
        assert_eq!(names.of([Some(LOCAL), Some(REMOTE), None]), expected);
        wait_for_end(&names);
    }

    #[test]
    fn a_lookup_that_takes_too_long_costs_its_time_once_and_a_panic_costs_a_name() {
        static HELD: Mutex<()> = Mutex::new(());
        let held = HELD.lock().unwrap();
        let slow = names(Duration::from_millis(50), |_| {
            let _held = HELD.lock().unwrap();
            Some("late.example".to_owned())
        });
        let begun = Instant::now();
        assert_eq!(slow.of([Some(LOCAL), Some(REMOTE)]), [None, None]);
        assert!(begun.elapsed() >= Duration::from_millis(50));
        assert_eq!(slow.running.load(Ordering::Relaxed), 2);
        drop(held);
        wait_for_end(&slow);
        let broken = names(Duration::MAX, |_| panic!("a resolver that panics"));
        assert_eq!(broken.of([Some(LOCAL)]), [None]);
        wait_for_end(&broken);
    }

    #[test]
    fn no_more_lookups_than_there_may_be_hold_a_thread() {
        static HELD: Mutex<()> = Mutex::new(());
        let held = HELD.lock().unwrap();
        let names = names(Duration::from_nanos(1), |_| {
            let _held = HELD.lock().unwrap();
            None
        });
        for _ in 0..2 * MOST_LOOKUPS {
            assert_eq!(names.of([Some(LOCAL)]), [None]);
        }
        assert_eq!(names.running.load(Ordering::Relaxed), MOST_LOOKUPS);
        drop(held);
        wait_for_end(&names);
    }

    #[test]
    fn a_name_is_one_of_a_host() {
        let long = "x".repeat(254);
        for (name, expected) in [
            ("localhost", true),
            ("mail.example.com", true),
            ("a_b.xn--4gbrim.example", true),
            ("", false),
            ("192.0.2.1", false),
            ("::1", false),
            ("$(reboot)", false),
            ("a b", false),
            ("-rf", false),
            (&long, false),
        ] {
            assert_eq!(is_host_name(name), expected, "{name}");
        }
    }

    #[test]
    fn the_loopback_address_has_the_name_of_the_hosts_file() {
        let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let mut lines = hosts.lines().map(str::split_whitespace);
        let name = lines.find_map(|mut words| {
            let is_loopback = words.next() == Some("127.0.0.1");
            is_loopback.then(|| words.next()).flatten()
        });
        let Some(name) = name else {
            println!("skipped: the hosts file has no name for 127.0.0.1");
            return;
        };
        assert_eq!(confirmed_name(LOCAL).as_deref(), Some(name));
    }
}
