//! The addresses of the framework, and the URLs of the command.

use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;

use arbitrary::{Arbitrary, Unstructured};
use socketserver::{Address, InetAddress};

use crate::url::{HostPort, Url, unix_address};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    known: Vec<Known>,
    text: &'a [u8],
}

#[derive(Debug, Arbitrary)]
struct Known {
    ip: IpAddr,
    port: u16,
    zone: u32,
}

/// Checks that an address and a URL that were parsed print as what parses to the same; that an
/// address of the kernel can be typed back in, as the framework and as the command print it; and
/// that a list has each address once.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    for known in &input.known {
        known.can_be_typed_back_in();
    }
    input.a_list_has_each_address_once();
    a_url_prints_as_itself(input.text);
    if let Ok(text) = str::from_utf8(input.text) {
        an_address_prints_as_it_was_written(text);
    }
}

impl Known {
    fn address(&self) -> SocketAddr {
        match self.ip {
            IpAddr::V4(ip) => (ip, self.port).into(),
            IpAddr::V6(ip) => SocketAddrV6::new(ip, self.port, 0, self.zone).into(),
        }
    }

    fn can_be_typed_back_in(&self) {
        let address = self.address();
        assert_eq!(resolved(&address.to_string().into()), [address]);
        assert_eq!(resolved(&address.into()), [address]);
        let printed = Address::from(address).to_string();
        let canonical = Address::from(resolved(&printed.as_str().into())[0]);
        assert_eq!(canonical.to_string(), printed);

        let place = HostPort::from(address);
        let printed = place.to_string();
        let parsed: HostPort = printed.parse().unwrap_or_else(|e| panic!("{printed}: {e}"));
        assert_eq!(parsed, place);
        let addresses = place.addresses().expect("an IP address needs no look-up");
        assert_eq!(addresses, resolved(&place.inet_address()));
        assert_eq!(addresses[0].port(), self.port);
        assert_eq!(addresses[0].ip().to_canonical(), self.ip.to_canonical());
    }
}

impl Input<'_> {
    fn a_list_has_each_address_once(&self) {
        let all = Vec::from_iter(self.known.iter().map(Known::address));
        if all.is_empty() {
            let error = InetAddress::from(all).to_socket_addrs();
            assert!(error.is_err(), "an empty list has an address");
            return;
        }
        let mut once = Vec::new();
        for address in &all {
            if !once.contains(address) {
                once.push(*address);
            }
        }
        let printed = Vec::from_iter(all.iter().map(SocketAddr::to_string));
        let list = InetAddress::from(all);
        assert_eq!(resolved(&list), once);
        assert_eq!(list.to_string(), printed.join(", "));
        assert_eq!(resolved(&InetAddress::from(printed)), once);
        assert_eq!(resolved(&InetAddress::all(list)), once);
    }
}

fn resolved(address: &InetAddress) -> Vec<SocketAddr> {
    let addresses = address.to_socket_addrs();
    addresses
        .unwrap_or_else(|error| panic!("{address}: {error}"))
        .collect()
}

fn an_address_prints_as_it_was_written(text: &str) {
    let address = InetAddress::from(text);
    assert_eq!(address.to_string(), text);
    if !needs_no_resolver(text) {
        return;
    }
    if let Ok(addresses) = address.to_socket_addrs() {
        let addresses = Vec::from_iter(addresses);
        assert_eq!(addresses.len(), 1, "{addresses:?}");
        assert_eq!(resolved(&addresses[0].to_string().into()), addresses);
    }
}

/// Whether a look-up of the text asks no name server.
fn needs_no_resolver(text: &str) -> bool {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let zoned = text.strip_prefix('[').and_then(|it| it.split_once("]:"));
    text.parse::<SocketAddr>().is_ok()
        || text.strip_prefix(':').is_some_and(is_port)
        || zoned.is_some_and(|(host, port)| host.contains('%') && is_port(port))
}

fn a_url_prints_as_itself(bytes: &[u8]) {
    let url = match Url::from_os_str(OsStr::from_bytes(bytes)) {
        Ok(url) => url,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    let printed = url.to_bytes();
    let parsed = Url::from_os_str(OsStr::from_bytes(&printed));
    assert_eq!(parsed.as_ref(), Ok(&url));
    if let Ok(printed) = String::from_utf8(printed) {
        assert_eq!(url.to_string(), printed);
        assert!(!printed.contains(char::is_control), "{printed:?}");
    }
    if let Some(path) = url.unix_path() {
        unix_address(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    }
}
