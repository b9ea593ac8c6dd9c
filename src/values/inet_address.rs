//! The addresses that a TCP or UDP server is to listen on, before host names are resolved.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};
use std::vec;

use nix::net::if_::if_nametoindex;

/// The address, or the addresses, that a TCP or UDP server is to listen on, before host names are
/// resolved. Python's `server_address` argument.
///
/// The value is made of `"127.0.0.1:9999"`, `"localhost:9999"`, `"[::]:9999"`,
/// `("localhost", 9999)`, `([127, 0, 0, 1], 9999)`, or a [`SocketAddr`]. It can also be made of an
/// array or a `Vec` of these, and then means each of them.
///
/// * A host name means the first of its addresses that can be bound, of whatever family:
///   `localhost` may be `[::1]` alone, where Python means `127.0.0.1`. [`all`](Self::all) means
///   every address of the name.
/// * An empty host means every IPv4 address of the machine, as in Python.
/// * Port 0 means any free port; the server's [`server_address`](crate::Server::server_address) has
///   the real port. A server with several addresses has the same port on each that has port 0.
/// * A link-local IPv6 address has its zone after a `%`, as the name or the number of the
///   interface: `"[fe80::1%eth0]:9999"`.
///
/// The value implements [`ToSocketAddrs`], so that a client of your own can connect to its
/// addresses, zones included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InetAddress(Vec<Listed>);

/// One address as the caller wrote it, and which of its addresses are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    host: Host,
    means: Means,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    First,
    Every,
}

impl InetAddress {
    /// Makes a value that means every address of a host name: `InetAddress::all("localhost:9999")`
    /// means both `127.0.0.1:9999` and `[::1]:9999`. The name alone means the first address that
    /// can be bound.
    ///
    /// The server is [bound](crate::Serve::bind) to all of them or to none. Only an address of a
    /// family that this machine does not have, such as `[::1]` where IPv6 is disabled, is left out.
    ///
    /// ```
    /// use socketserver::{InetAddress, ThreadingTcpServer, handler_fn};
    ///
    /// let address = InetAddress::all("localhost:0");
    /// let server = ThreadingTcpServer::bind(address, handler_fn(|_| Ok(())))?;
    /// let addresses = server.server_addresses();
    /// assert!(addresses.iter().all(|it| it.port() == addresses[0].port()));
    /// # Ok::<(), socketserver::Error>(())
    /// ```
    #[must_use]
    pub fn all(address: impl Into<Self>) -> Self {
        let Self(mut listed) = address.into();
        for one in &mut listed {
            one.means = Means::Every;
        }
        Self(listed)
    }

    fn one(host: Host) -> Self {
        let means = Means::First;
        Self(vec![Listed { host, means }])
    }

    /// Looks the host names up. A server listens on one address of each element, of which there is
    /// at least one. An address that occurs again is left out.
    pub(crate) fn resolve(&self) -> Result<Vec<OneOf>, AddressError> {
        let mut all: Vec<OneOf> = Vec::new();
        for Listed { host, means } in &self.0 {
            let mut addresses = Vec::new();
            for address in host.resolve()? {
                let is_listed = all.iter().any(|it| it.addresses.contains(&address));
                if !is_listed && !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            match means {
                Means::First if addresses.is_empty() => {}
                Means::First => all.push(OneOf {
                    addresses,
                    is_optional: false,
                }),
                Means::Every => {
                    let is_optional = addresses.len() > 1;
                    all.extend(addresses.into_iter().map(|address| OneOf {
                        addresses: vec![address],
                        is_optional,
                    }));
                }
            }
        }
        if all.is_empty() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "the list has no address");
            let address = self.to_string();
            return Err(AddressError::Invalid { address, source });
        }
        Ok(all)
    }
}

/// Every address, in the order of getaddrinfo(3), for `TcpStream::connect` and its siblings.
impl ToSocketAddrs for InetAddress {
    type Iter = vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let resolved = self.resolve().map_err(|error| match error {
            AddressError::Invalid { source, .. } | AddressError::Unresolved { source, .. } => {
                source
            }
        })?;
        let addresses = resolved.into_iter().flat_map(|it| it.addresses);
        Ok(Vec::from_iter(addresses).into_iter())
    }
}

impl fmt::Display for InetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for Listed { host, .. } in &self.0 {
            write!(f, "{separator}{host}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl From<&str> for InetAddress {
    fn from(text: &str) -> Self {
        Self::one(Host::Text(text.to_owned()))
    }
}

impl From<String> for InetAddress {
    fn from(text: String) -> Self {
        Self::one(Host::Text(text))
    }
}

impl From<(&str, u16)> for InetAddress {
    fn from((host, port): (&str, u16)) -> Self {
        Self::one(Host::Named(host.to_owned(), port))
    }
}

impl From<(String, u16)> for InetAddress {
    fn from((host, port): (String, u16)) -> Self {
        Self::one(Host::Named(host, port))
    }
}

impl From<&String> for InetAddress {
    fn from(text: &String) -> Self {
        Self::one(Host::Text(text.clone()))
    }
}

/// Each address of the array.
impl<T: Into<InetAddress>, const N: usize> From<[T; N]> for InetAddress {
    fn from(addresses: [T; N]) -> Self {
        Self::from(Vec::from(addresses))
    }
}

/// Each address of the list.
impl<T: Into<InetAddress>> From<Vec<T>> for InetAddress {
    fn from(addresses: Vec<T>) -> Self {
        Self(addresses.into_iter().flat_map(|it| it.into().0).collect())
    }
}

/// Conversions from types with an IP address and a port.
macro_rules! inet_address_from {
    ($($inet:ty),*) => {$(
        impl From<$inet> for InetAddress {
            fn from(address: $inet) -> Self {
                Self::one(Host::Known(address.into()))
            }
        }
    )*};
}

inet_address_from!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    ([u8; 4], u16)
);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Text(String),
    Named(String, u16),
    Known(SocketAddr),
}

impl Host {
    /// The socket addresses of this host, at least one.
    fn resolve(&self) -> Result<Vec<SocketAddr>, AddressError> {
        let resolved = match self {
            Self::Known(address) => return Ok(vec![*address]),
            Self::Text(text) => match text.strip_prefix(':').map(str::parse) {
                Some(Ok(port)) => return Ok(vec![(Ipv4Addr::UNSPECIFIED, port).into()]),
                _ => match zoned(text) {
                    Some((host, port)) => resolve_zone(host, port).map(|it| vec![it]),
                    None => text.to_socket_addrs().map(Vec::from_iter),
                },
            },
            Self::Named(host, port) if host.is_empty() => {
                return Ok(vec![(Ipv4Addr::UNSPECIFIED, *port).into()]);
            }
            Self::Named(host, port) if host.contains('%') => {
                resolve_zone(host, *port).map(|it| vec![it])
            }
            Self::Named(host, port) => (&**host, *port).to_socket_addrs().map(Vec::from_iter),
        };
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        resolved
            .and_then(|all| if all.is_empty() { Err(none()) } else { Ok(all) })
            .map_err(|source| {
                let address = self.to_string();
                match source.kind() {
                    io::ErrorKind::InvalidInput => AddressError::Invalid { address, source },
                    _ => AddressError::Unresolved { address, source },
                }
            })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Named(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Named(host, port) => write!(f, "{host}:{port}"),
            Self::Known(address) => address.fmt(f),
        }
    }
}

/// Splits `[IPV6%ZONE]:PORT`; `None` for every other text.
fn zoned(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.strip_prefix('[')?.split_once("]:")?;
    let port = port.parse().ok()?;
    host.contains('%').then_some((host, port))
}

/// Makes an address of `IPV6%ZONE`. The standard library reads a number as the zone, and no name.
fn resolve_zone(host: &str, port: u16) -> io::Result<SocketAddr> {
    let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let (ip, zone) = host.split_once('%').unwrap_or((host, ""));
    let Ok(ip) = ip.parse::<Ipv6Addr>() else {
        let what = "only an IPv6 address has a zone, which is the part behind the %";
        return Err(invalid(what));
    };
    let zone = match zone.parse() {
        Ok(number) => number,
        Err(_) if zone.is_empty() => return Err(invalid("the zone behind the % is empty")),
        Err(_) => if_nametoindex(zone).map_err(|_| {
            let what = format!("this machine has no network interface {zone:?}");
            io::Error::new(io::ErrorKind::NotFound, what)
        })?,
    };
    Ok(SocketAddrV6::new(ip, port, 0, zone).into())
}

/// Addresses of which a server is to listen on one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneOf {
    /// At least one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether the server starts without the address if the machine does not have its family.
    pub(crate) is_optional: bool,
}

/// The reason why an [`InetAddress`] has no socket address. Each variant has the address as the
/// caller wrote it.
#[derive(Debug)]
pub(crate) enum AddressError {
    /// The text is not an address.
    Invalid { address: String, source: io::Error },
    /// The host name has no address, or the resolver failed.
    Unresolved { address: String, source: io::Error },
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn resolved(address: impl Into<InetAddress>) -> Vec<SocketAddr> {
        address.into().to_socket_addrs().unwrap().collect()
    }

    fn loopback(port: u16, zone: u32) -> SocketAddr {
        SocketAddrV6::new(Ipv6Addr::LOCALHOST, port, 0, zone).into()
    }

    #[test]
    fn an_unknown_host_and_a_text_that_is_no_address_are_different_errors() {
        // Longer than a label may be, so that the lookup fails without a resolver.
        let error = InetAddress::from(("h".repeat(64), 80))
            .resolve()
            .unwrap_err();
        assert!(
            matches!(error, AddressError::Unresolved { .. }),
            "{error:?}"
        );
    }

    #[test]
    fn an_empty_host_means_every_ipv4_address() {
        let every: SocketAddr = "0.0.0.0:7".parse().unwrap();
        assert_eq!(resolved(("", 7)), [every]);
        assert_eq!(resolved(":7"), [every]);
    }

    #[test]
    fn a_zone_is_read_by_name_and_by_number_in_text_and_in_a_host() {
        let lo = if_nametoindex("lo").unwrap();
        assert_eq!(resolved("[::1%lo]:7"), [loopback(7, lo)]);
        assert_eq!(resolved(("::1%lo", 7)), [loopback(7, lo)]);
        assert_eq!(resolved("[::1%4]:7"), [loopback(7, 4)]);
        assert_eq!(resolved(("::1%4".to_owned(), 7)), [loopback(7, 4)]);
        // As an address is printed.
        assert_eq!(resolved(loopback(7, 4).to_string()), [loopback(7, 4)]);
    }

    #[test]
    fn a_zone_that_cannot_be_read_is_an_error_that_names_the_mistake() {
        for (text, expected) in [
            ("[::1%no-such-interface]:7", "no network interface"),
            ("[127.0.0.1%lo]:7", "only an IPv6 address"),
            ("[::1%]:7", "is empty"),
            ("[::1%a\0b]:7", "no network interface"),
            ("[::1%99999999999]:7", "no network interface"),
        ] {
            let error = match InetAddress::from(text).resolve().unwrap_err() {
                AddressError::Invalid { address, source }
                | AddressError::Unresolved { address, source } => format!("{address}: {source}"),
            };
            assert!(error.contains(expected), "{error}");
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn a_list_has_each_address_once_in_its_order_and_an_empty_list_is_an_error() {
        let (one, two) = (loopback(1, 0), loopback(2, 0));
        assert_eq!(resolved([two, one, two]), [two, one]);
        assert_eq!(resolved(vec!["[::1]:2", "[::1]:1"]), [two, one]);
        let error = InetAddress::from([""; 0]).resolve().unwrap_err();
        assert!(matches!(error, AddressError::Invalid { .. }), "{error:?}");
    }

    #[test]
    fn all_makes_a_choice_of_each_address() {
        let all = InetAddress::all(["127.0.0.1:1", "127.0.0.1:2"]);
        let choices = all.resolve().unwrap();
        assert_eq!(choices.len(), 2);
        assert!(choices.iter().all(|it| it.addresses.len() == 1));
    }
}
