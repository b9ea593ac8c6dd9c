//! The proxies whose PROXY headers are believed.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use crate::values::address::Address;

/// A network, or one address, of proxies: `10.0.0.0/8`, `192.0.2.1`, `2001:db8::/32`.
///
/// Python's counterpart is `ipaddress.ip_network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "ip_network")]
pub struct TrustedNetwork(IpNet);

impl TrustedNetwork {
    /// Returns whether the network has this address. An IPv4 address in an IPv6 address
    /// (`::ffff:192.0.2.1`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

/// Makes the network that has this address alone.
impl From<IpAddr> for TrustedNetwork {
    fn from(ip: IpAddr) -> Self {
        Self(ip.to_canonical().into())
    }
}

impl FromStr for TrustedNetwork {
    type Err = InvalidNetwork;

    /// Reads an address, or an address and the length of its prefix after a slash. The bits after
    /// the prefix have no meaning.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::from(ip));
        }
        let invalid = || InvalidNetwork(text.to_owned());
        let network: IpNet = text.parse().map_err(|_| invalid())?;
        // Addresses are compared as IPv4 where they are IPv4.
        let mapped = |ip: IpAddr| match ip.to_canonical() {
            IpAddr::V4(ip) if network.prefix_len() >= MAPPED => Some(ip),
            _ => None,
        };
        match network {
            IpNet::V6(_) if mapped(network.addr()).is_some() => {
                let ip = mapped(network.addr()).ok_or_else(invalid)?;
                let network = Ipv4Net::new(ip, network.prefix_len() - MAPPED);
                Ok(Self(network.map_err(|_| invalid())?.into()))
            }
            _ => Ok(Self(network)),
        }
    }
}

/// The length of the prefix `::ffff:0:0/96`.
const MAPPED: u8 = 96;

impl fmt::Display for TrustedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The error for a text that is not a network.
///
/// Python's counterpart is the `ValueError` of `ipaddress.ip_network`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a network: write an address such as 192.0.2.1 or 2001:db8::1, or a network such \
     as 10.0.0.0/8"
)]
pub struct InvalidNetwork(String);

/// What the layer does with a connection whose address is not trusted.
///
/// Python has no counterpart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untrusted {
    /// The connection is closed, and counts as [not verified](crate::Refusal::NotVerified).
    #[default]
    Refuse,
    /// The connection is served as without the layer, with its own address, and from its first byte
    /// on. If it sends a header, the header is a part of the handler's bytes.
    Pass,
}

/// The addresses whose headers are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Trusted {
    pub networks: Vec<TrustedNetwork>,
    pub unix: bool,
}

impl Trusted {
    pub fn includes(&self, address: &Address) -> bool {
        match address.ip() {
            Some(ip) => self.networks.iter().any(|network| network.contains(ip)),
            None => self.unix,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn contains(network: &str, ip: &str) -> bool {
        let network: TrustedNetwork = network.parse().unwrap();
        network.contains(ip.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_of_its_prefix_in_either_spelling() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.255.255.255"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:10.0.0.0/104", "10.1.1.1", "11.0.0.0"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::1", "127.0.0.1"),
        ] {
            assert!(contains(network, inside), "{inside} in {network}");
            assert!(!contains(network, outside), "{outside} in {network}");
        }
    }

    #[test]
    fn a_text_that_is_no_network_is_refused_with_examples() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "proxy",
            "10.0.0.1/",
            "10.0.0.1/+8",
            " 10.0.0.1",
            "010.0.0.1",
            "fe80::1%eth0",
            "10.0.0.0/255.0.0.0",
        ] {
            let error = text.parse::<TrustedNetwork>().expect_err(text).to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
    }

    #[test]
    fn unix_sockets_and_networks_are_trusted_by_themselves() {
        let inet = Address::from(([10, 0, 0, 1], 1));
        let mut trusted = Trusted::default();
        assert!(!trusted.includes(&inet) && !trusted.includes(&Address::UnixUnnamed));
        trusted.unix = true;
        assert!(!trusted.includes(&inet) && trusted.includes(&Address::UnixUnnamed));
        trusted.networks.push("10.0.0.0/8".parse().unwrap());
        assert!(trusted.includes(&inet));
    }
}
