//! bind(2) to the addresses of a server: to one address of each group, for all groups or for none.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::transport::socket_address::{from_sockaddr, to_sockaddr};
use crate::transport::socket_error::SocketError;
use crate::transport::socket_options::SocketOptions;
use crate::values::address::Address;
use crate::values::inet_address::OneOf;

/// How many free ports are tried until a port is free on every address.
const ATTEMPTS: u32 = 32;

/// A group of addresses. A server is bound to the first of them that can be bound.
#[derive(Debug)]
pub(crate) struct Group {
    /// The list has at least one address.
    pub(crate) addresses: Vec<Address>,
    /// Whether the server starts without the group if the machine does not have its family.
    is_optional: bool,
}

impl Group {
    pub(crate) fn of_one(address: Address) -> Self {
        Self {
            addresses: vec![address],
            is_optional: false,
        }
    }
}

impl From<OneOf> for Group {
    fn from(one_of: OneOf) -> Self {
        Self {
            addresses: one_of.addresses.into_iter().map(Address::from).collect(),
            is_optional: one_of.is_optional,
        }
    }
}

/// Creates a socket of the first family that the system supports, among `groups`.
pub(crate) fn first_socket(groups: &[Group], kind: Type) -> Result<Arc<OwnedFd>, SocketError> {
    let mut failures = Vec::new();
    for address in groups.iter().flat_map(|group| &group.addresses) {
        match create(address, kind) {
            Ok(socket) => return Ok(socket),
            Err(error) => failures.push((address.clone(), error)),
        }
    }
    Err(SocketError::of_each(failures))
}

/// A bound socket, and its address as the system reports it.
pub(crate) type Bound = (Arc<OwnedFd>, Address);

/// Binds a socket to one address of each group: at least one socket in all.
///
/// A single group is bound with `first`, if its family is right. The sockets of several groups are
/// new, because a failure must leave nothing bound, and `first` has another owner.
pub(crate) fn bind_each(
    groups: &[Group],
    kind: Type,
    options: SocketOptions,
    first: &Arc<OwnedFd>,
) -> Result<Vec<Bound>, SocketError> {
    let is_v4 = |address: &Address| matches!(address, Address::Inet(SocketAddr::V4(_)));
    let has_v4 = groups.iter().flat_map(|it| &it.addresses).any(is_v4);
    let mut attempts = 1..ATTEMPTS;
    loop {
        let binding = Binding {
            kind,
            options,
            // Without this option, `[::]` would have the port of `0.0.0.0` as well.
            only_v6: groups.len() > 1 && has_v4,
            unbound: (groups.len() == 1).then(|| first.clone()),
            port: None,
        };
        match binding.bind_each(groups) {
            Ok(bound) => return Ok(bound),
            Err(Failure::PortTaken(_)) if attempts.next().is_some() => {}
            Err(Failure::PortTaken(error) | Failure::Final(error)) => return Err(error),
        }
    }
}

/// One attempt to bind the sockets.
struct Binding {
    kind: Type,
    options: SocketOptions,
    only_v6: bool,
    /// The socket for a single group.
    unbound: Option<Arc<OwnedFd>>,
    /// The free port that the system has chosen for the first address with port 0.
    port: Option<u16>,
}

/// The reason why an attempt failed.
enum Failure {
    /// The free port of one address is in use on another.
    PortTaken(SocketError),
    Final(SocketError),
}

impl Binding {
    fn bind_each(mut self, groups: &[Group]) -> Result<Vec<Bound>, Failure> {
        let mut bound = Vec::new();
        let mut left_out = Vec::new();
        for group in groups {
            match self.bind_one_of(group) {
                Ok(one) => bound.push(one),
                Err(failures) => {
                    let wants_same_port = |(address, error): &(Address, SocketError)| {
                        self.port.is_some() && address.port() == Some(0) && is_in_use(error)
                    };
                    if failures.iter().any(wants_same_port) {
                        return Err(Failure::PortTaken(SocketError::of_each(failures)));
                    }
                    let is_absent = |(address, error): &_| {
                        group.is_optional && is_family_absent(address, error)
                    };
                    if !failures.iter().all(is_absent) {
                        return Err(Failure::Final(SocketError::of_each(failures)));
                    }
                    left_out.extend(failures);
                }
            }
        }
        match bound.is_empty() {
            true => Err(Failure::Final(SocketError::of_each(left_out))),
            false => Ok(bound),
        }
    }

    /// Binds a socket to the first address that can be bound. Fails with each requested address and
    /// its failure.
    fn bind_one_of(&mut self, group: &Group) -> Result<Bound, Vec<(Address, SocketError)>> {
        let mut failures = Vec::new();
        for address in &group.addresses {
            match self.bind_to(address) {
                Ok(bound) => return Ok(bound),
                Err(error) => failures.push((address.clone(), error)),
            }
        }
        Err(failures)
    }

    fn bind_to(&mut self, address: &Address) -> Result<Bound, SocketError> {
        let target = match (address.clone(), self.port) {
            (Address::Inet(mut inet), Some(port)) if inet.port() == 0 => {
                inet.set_port(port);
                Address::Inet(inet)
            }
            (address, _) => address,
        };
        let socket = match &self.unbound {
            Some(unbound) if is_of_family(unbound, &target) => unbound.clone(),
            _ => create(&target, self.kind)?,
        };
        self.options.set(&socket, &target, self.only_v6)?;
        to_sockaddr(&target)
            .and_then(|it| SockRef::from(&socket).bind(&it))
            .map_err(|source| SocketError::bind(target.clone(), source))?;
        let actual = SockRef::from(&socket).local_addr();
        let actual = actual.map_or(target, |it| from_sockaddr(&it));
        if address.port() == Some(0) {
            self.port = actual.port();
        }
        Ok((socket, actual))
    }
}

fn create(address: &Address, kind: Type) -> Result<Arc<OwnedFd>, SocketError> {
    match Socket::new(domain(address), kind, None) {
        Ok(socket) => Ok(Arc::new(OwnedFd::from(socket))),
        Err(source) => Err(SocketError::Create(address.clone(), source)),
    }
}

fn domain(address: &Address) -> Domain {
    match address {
        Address::Inet(address) => SockAddr::from(*address).domain(),
        _ => Domain::UNIX,
    }
}

fn is_of_family(socket: &OwnedFd, address: &Address) -> bool {
    // The address of an unbound socket has the family and nothing else.
    let local = SockRef::from(socket).local_addr();
    local.is_ok_and(|local| local.domain() == domain(address))
}

fn is_in_use(error: &SocketError) -> bool {
    matches!(error, SocketError::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

/// Returns whether `address` failed because the machine does not have its family: the kernel does
/// not support the family, or has no address of it, not even the loopback address.
fn is_family_absent(address: &Address, error: &SocketError) -> bool {
    let (SocketError::Create(_, source) | SocketError::Bind { source, .. }) = error else {
        return false;
    };
    let errno = source.raw_os_error().map(Errno::from_raw);
    let loopback = match address {
        Address::Inet(SocketAddr::V4(_)) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        _ => SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
    };
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
        && std::net::UdpSocket::bind(loopback).is_err()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use support::clients::has_ipv6;

    use super::*;

    /// Addresses for documentation, which no machine has.
    const NOBODY_V4: &str = "192.0.2.1:0";
    const NOBODY_V6: &str = "[2001:db8::1]:0";

    fn group(addresses: &[&str], is_optional: bool) -> Group {
        let address = |text: &&str| Address::from(text.parse::<SocketAddr>().unwrap());
        Group {
            addresses: addresses.iter().map(address).collect(),
            is_optional,
        }
    }

    fn bind(groups: &[Group], kind: Type) -> Result<Vec<Address>, SocketError> {
        let first = first_socket(groups, kind)?;
        let bound = bind_each(groups, kind, SocketOptions::default(), &first)?;
        Ok(bound.into_iter().map(|(_, address)| address).collect())
    }

    fn ips(addresses: &[Address]) -> Vec<String> {
        let ip = |address: &Address| address.ip().unwrap().to_string();
        addresses.iter().map(ip).collect()
    }

    #[test]
    fn the_first_address_that_can_be_bound_is_bound_whatever_its_family() {
        for kind in [Type::STREAM, Type::DGRAM] {
            for names in [[NOBODY_V6, "127.0.0.1:0"], [NOBODY_V4, "127.0.0.1:0"]] {
                let bound = bind(&[group(&names, false)], kind).unwrap();
                assert_eq!(ips(&bound), ["127.0.0.1"]);
            }
            if has_ipv6() {
                let names = [NOBODY_V4, NOBODY_V6, "[::1]:0"];
                let bound = bind(&[group(&names, false)], kind).unwrap();
                assert_eq!(ips(&bound), ["::1"]);
            }
        }
    }

    #[test]
    fn the_socket_that_was_opened_first_is_bound_if_its_family_is_right() {
        let groups = [group(&[NOBODY_V4, "127.0.0.1:0"], false)];
        let first = first_socket(&groups, Type::STREAM).unwrap();
        let options = SocketOptions::default();
        let bound = bind_each(&groups, Type::STREAM, options, &first).unwrap();
        assert!(Arc::ptr_eq(&bound[0].0, &first));
    }

    #[test]
    fn an_address_in_use_is_the_error_before_others_and_every_address_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap().to_string();
        let error = bind(&[group(&[NOBODY_V6, &taken], false)], Type::STREAM).unwrap_err();
        let SocketError::Bind {
            address,
            source,
            others,
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(address.to_string(), taken);
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(others[0].0.to_string(), NOBODY_V6);
        assert_eq!(others[0].1.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn each_group_is_bound_with_the_same_port() {
        if !has_ipv6() {
            return;
        }
        for kind in [Type::STREAM, Type::DGRAM] {
            let groups = [group(&["127.0.0.1:0"], false), group(&["[::1]:0"], false)];
            let bound = bind(&groups, kind).unwrap();
            assert_eq!(ips(&bound), ["127.0.0.1", "::1"]);
            assert_ne!(bound[0].port(), Some(0));
            assert_eq!(bound[0].port(), bound[1].port());
        }
    }

    #[test]
    fn every_address_of_both_families_is_bound_beside_the_other_family() {
        let groups = [group(&["0.0.0.0:0"], false), group(&["[::]:0"], false)];
        for kind in [Type::STREAM, Type::DGRAM] {
            assert_eq!(bind(&groups, kind).unwrap().len(), 2);
        }
    }

    #[test]
    fn a_group_that_cannot_be_bound_is_an_error_and_leaves_nothing_bound() {
        // Loopback addresses that no other test has.
        let other = UdpSocket::bind("127.34.1.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let free = format!("127.34.1.2:{port}");
        let taken = format!("127.34.1.1:{port}");
        let groups = [group(&[&free], false), group(&[&taken], true)];
        let error = bind(&groups, Type::DGRAM).unwrap_err();
        assert!(is_in_use(&error), "{error:?}");
        UdpSocket::bind(free).unwrap();
    }

    #[test]
    fn an_address_of_a_family_that_the_machine_has_is_not_left_out() {
        let groups = [group(&["127.0.0.1:0"], true), group(&[NOBODY_V4], true)];
        let error = bind(&groups, Type::STREAM).unwrap_err();
        let cause = error.into_cause();
        assert_eq!(cause.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
