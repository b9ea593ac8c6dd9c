//! The addresses of a datagram socket itself, when they appear as senders.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::transport::destination::Destination;
use crate::values::address::Address;

/// How long the result for an address is kept, since the addresses of a machine may change.
const KEPT: Duration = Duration::from_secs(1);

/// The most addresses whose result is kept.
const MOST_KEPT: usize = 256;

/// Recognises datagrams whose sender is the server that has received them. The server would receive
/// its own reply, and answer it without end. Only a forged datagram has such a sender, or a
/// datagram that the program sends to its own server.
///
/// A socket on a wildcard address has its port on every address of the machine. Datagrams to a
/// multicast or broadcast address are excluded, since another member of the group may have the same
/// address: a socket on this machine with the same port.
#[derive(Debug, Default)]
pub(crate) struct OwnAddress {
    /// The addresses of the server's sockets.
    bound: Vec<Address>,
    /// Whether each of these addresses belongs to this machine. A result is kept for a second.
    local: HashMap<IpAddr, bool>,
    begun: Option<Instant>,
}

impl OwnAddress {
    pub(crate) fn new(bound: impl IntoIterator<Item = Address>) -> Self {
        let has_name = |address: &Address| *address != Address::UnixUnnamed;
        Self {
            bound: bound.into_iter().filter(has_name).collect(),
            ..Self::default()
        }
    }

    /// Returns whether the sender of a datagram is one of the sockets.
    pub(crate) fn is_sender(
        &mut self,
        sender: &Address,
        destination: Option<&Destination>,
    ) -> bool {
        let Address::Inet(sender) = sender else {
            return self.bound.contains(sender);
        };
        if destination.is_some_and(|it| !it.is_unicast()) {
            return false;
        }
        let ip = sender.ip().to_canonical();
        let mut is_wildcard = false;
        for bound in &self.bound {
            // Nearly every sender has another port.
            match bound {
                Address::Inet(bound) if bound.port() == sender.port() => {
                    if bound.ip().to_canonical() == ip {
                        return true;
                    }
                    is_wildcard |= bound.ip().is_unspecified();
                }
                _ => {}
            }
        }
        is_wildcard && (destination.is_some_and(|it| it.ip() == ip) || self.is_local(sender))
    }

    fn is_local(&mut self, address: &SocketAddr) -> bool {
        if self.begun.is_none_or(|begun| begun.elapsed() > KEPT) || self.local.len() >= MOST_KEPT {
            self.local.clear();
            self.begun = Some(Instant::now());
        }
        let answer = self.local.entry(address.ip());
        *answer.or_insert_with(|| is_local(*address))
    }
}

/// Returns whether the address belongs to this machine, which is so if another port of it can be
/// bound.
fn is_local(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn inet(text: &str) -> Address {
        Address::from(text.parse::<SocketAddr>().unwrap())
    }

    fn is_sender(bound: &str, sender: &str) -> bool {
        OwnAddress::new([inet(bound)]).is_sender(&inet(sender), None)
    }

    #[test]
    fn a_socket_is_the_sender_with_its_address_and_port() {
        assert!(is_sender("127.0.0.1:7", "127.0.0.1:7"));
        assert!(!is_sender("127.0.0.1:7", "127.0.0.1:8"));
        assert!(!is_sender("127.0.0.1:7", "127.0.0.2:7"));
        assert!(is_sender("[::1]:7", "[::1]:7"));
    }

    #[test]
    fn a_socket_on_a_wildcard_address_is_the_sender_with_every_address_of_the_machine() {
        for own in ["127.0.0.1:7", "127.0.0.2:7"] {
            assert!(is_sender("0.0.0.0:7", own), "{own}");
        }
        assert!(is_sender("[::]:7", "[::ffff:127.0.0.2]:7"));
        assert!(!is_sender("0.0.0.0:7", "127.0.0.1:8"));
        // An address for documentation, which no machine has.
        assert!(!is_sender("0.0.0.0:7", "192.0.2.1:7"));
    }

    #[test]
    fn each_of_several_sockets_is_the_sender_with_its_own_address() {
        let mut own = OwnAddress::new(["127.0.0.1:7", "127.0.0.2:8"].map(inet));
        assert!(own.is_sender(&inet("127.0.0.1:7"), None));
        assert!(own.is_sender(&inet("127.0.0.2:8"), None));
        assert!(!own.is_sender(&inet("127.0.0.2:7"), None));
    }

    #[test]
    fn a_unix_socket_is_the_sender_with_its_name_and_one_without_a_name_never() {
        let path = Address::from_unix_path("/run/one".into());
        let mut own = OwnAddress::new([path.clone()]);
        assert!(own.is_sender(&path, None));
        assert!(!own.is_sender(&Address::from_unix_path("/run/other".into()), None));
        let mut unnamed = OwnAddress::new([Address::UnixUnnamed]);
        assert!(!unnamed.is_sender(&Address::UnixUnnamed, None));
    }

    #[test]
    fn the_number_of_kept_answers_is_bounded() {
        let mut own = OwnAddress::new([inet("0.0.0.0:7")]);
        for number in 0..1000_u32 {
            let ip = std::net::Ipv4Addr::from(0xc000_0200 + number);
            own.is_sender(&Address::from((ip, 7)), None);
            assert!(own.local.len() <= MOST_KEPT);
        }
    }
}
