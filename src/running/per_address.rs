//! The number of requests from each IP address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::support::lock::lock;
use crate::support::sync::Mutex;

/// The number of requests of each address, or prefix of IPv6 addresses, that has requests.
#[derive(Debug)]
pub(crate) struct PerAddress {
    /// The number of bits of an IPv6 prefix.
    ipv6_prefix: u8,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// Counts one request for its address, as long as the ticket exists.
#[derive(Debug)]
pub(crate) struct Ticket(Box<Counted>);

#[derive(Debug)]
struct Counted {
    counts: Arc<PerAddress>,
    ip: IpAddr,
    rank: usize,
}

impl PerAddress {
    pub(crate) fn new(ipv6_prefix: u8) -> Self {
        Self {
            ipv6_prefix,
            counts: Mutex::default(),
        }
    }

    pub(crate) fn ipv6_prefix(&self) -> u8 {
        self.ipv6_prefix
    }

    pub(crate) fn ticket(self: &Arc<Self>, ip: IpAddr) -> Ticket {
        let ip = counted_as(ip, self.ipv6_prefix);
        let mut counts = lock(&self.counts);
        let count = counts.entry(ip).or_default();
        *count += 1;
        Ticket(Box::new(Counted {
            counts: self.clone(),
            ip,
            rank: *count,
        }))
    }
}

impl Ticket {
    /// Returns the number of requests of this address when this request was counted, itself
    /// included. So of two requests at once, only the second is above a limit.
    pub(crate) fn rank(&self) -> usize {
        self.0.rank
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Counted { counts, ip, .. } = &*self.0;
        let mut counts = lock(&counts.counts);
        if let Some(count) = counts.get_mut(ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(ip);
            }
        }
    }
}

/// Returns the address under which `ip` is counted: the first address of its prefix. See
/// [`Limits::with_ipv6_prefix`](crate::Limits::with_ipv6_prefix).
fn counted_as(ip: IpAddr, ipv6_prefix: u8) -> IpAddr {
    let IpAddr::V6(ip) = ip.to_canonical() else {
        return ip.to_canonical();
    };
    if ip.is_unicast_link_local() {
        return ip.into();
    }
    let bits = u128::from(ip);
    if bits >> 32 == TRANSLATED >> 32 {
        let [.., a, b, c, d] = ip.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    let mask = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix));
    Ipv6Addr::from(bits & mask.unwrap_or(0)).into()
}

/// `64:ff9b::/96`, the well-known prefix of RFC 6052, after which translators put IPv4 addresses.
const TRANSLATED: u128 = 0x0064_ff9b << 96;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_count_by_their_prefix_unless_they_contain_an_ipv4_address_or_are_of_one_link()
    {
        let counted = |text: &str, prefix| counted_as(text.parse().unwrap(), prefix).to_string();
        for (text, prefix, expected) in [
            ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::"),
            ("2001:db8:1:2:3:4:5:6", 56, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 128, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:6", 127, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:7", 127, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8::1", 0, "::"),
            ("::1", 64, "::"),
            ("fe80::1", 64, "fe80::1"),
            ("::ffff:192.0.2.1", 64, "192.0.2.1"),
            ("64:ff9b::192.0.2.1", 64, "192.0.2.1"),
            ("64:ff9b:1::1", 64, "64:ff9b:1::"),
            ("192.0.2.1", 0, "192.0.2.1"),
        ] {
            assert_eq!(counted(text, prefix), expected, "{text}/{prefix}");
        }
    }

    #[test]
    fn an_address_counts_its_tickets_and_leaves_nothing_behind() {
        let counts = Arc::new(PerAddress::new(64));
        let (one, other) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let first = counts.ticket(one);
        let second = counts.ticket(one);
        let third = counts.ticket(other);
        assert_eq!((first.rank(), second.rank(), third.rank()), (1, 2, 1));
        drop(first);
        let fourth = counts.ticket(one);
        assert_eq!(fourth.rank(), 2);
        drop((second, third, fourth));
        assert!(lock(&counts.counts).is_empty());
    }
}
