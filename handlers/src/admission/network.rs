//! A network of clients.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A network, or one address: `192.0.2.0/24`, `192.0.2.1`, `2001:db8::/32`.
///
/// An IPv4 network in an IPv6 one (`::ffff:192.0.2.0/120`) is the IPv4 network. Python's
/// counterpart is `ipaddress.ip_network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(alias = "ip_network")]
pub struct Network(IpNet);

/// A text that is not a network. Python's counterpart is the `ValueError` of
/// `ipaddress.ip_network`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a network: {reason}")]
pub struct InvalidNetwork {
    text: String,
    reason: String,
}

/// The length of the prefix `::ffff:0:0/96`, behind which IPv6 addresses are IPv4 addresses.
const MAPPED: u8 = 96;

impl Network {
    /// Whether the network has this address. An IPv4 address in an IPv6 one counts as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }

    /// The length of the prefix in bits. If two networks have an address, the network with the
    /// longer prefix is within the other.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    /// Reads an address, or an address and the length of its prefix behind a slash.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = |reason: String| InvalidNetwork {
            text: text.to_owned(),
            reason,
        };
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(ip.to_canonical().into()));
        }
        let network: IpNet = text.parse().map_err(|_| {
            invalid("write an address, such as 192.0.2.1, or a network, such as 10.0.0.0/8".into())
        })?;
        if network.trunc() != network {
            // A typing mistake would allow more, or deny more, than the user wants.
            let meant = network.trunc();
            return Err(invalid(format!(
                "the address has bits behind its prefix; write {meant}, or the address alone"
            )));
        }
        match (network, network.addr().to_canonical()) {
            (IpNet::V6(network), IpAddr::V4(ip)) if network.prefix_len() >= MAPPED => {
                let network = Ipv4Net::new(ip, network.prefix_len() - MAPPED);
                let network = network.map_err(|error| invalid(error.to_string()))?;
                Ok(Self(network.into()))
            }
            _ => Ok(Self(network)),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, ip: &str) -> bool {
        let network: Network = network.parse().unwrap();
        network.contains(ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_its_network_in_either_form() {
        assert!(contains("192.0.2.0/24", "192.0.2.255"));
        assert!(contains("192.0.2.0/24", "::ffff:192.0.2.255"));
        assert!(contains("::ffff:192.0.2.0/120", "192.0.2.255"));
        assert!(contains("192.0.2.1", "192.0.2.1"));
        assert!(contains("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::1"));
        assert!(contains("0.0.0.0/0", "8.8.8.8"));
        assert!(!contains("192.0.2.0/24", "192.0.3.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(!contains("::/0", "192.0.2.1"));
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_may_be_meant() {
        for (text, expected) in [
            ("", "10.0.0.0/8"),
            ("localhost", "10.0.0.0/8"),
            ("10.0.0.0/33", "10.0.0.0/8"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("2001:db8::1/32", "write 2001:db8::/32"),
        ] {
            let error = text.parse::<Network>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
