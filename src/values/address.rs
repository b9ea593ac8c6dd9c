//! Addresses of clients and servers, of every family.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The address of a client or of a server.
///
/// Python's `client_address` and `server_address`, which are a tuple or a string depending on the
/// family.
///
/// An address prints as people write it: `127.0.0.1:9999`, `[::1]:9999`, `unix:/run/echo.sock`,
/// `unix:@abstract`. Most Unix clients have not bound their socket, and print as `unix:unnamed`. An
/// IPv4 client of a server that listens on both families prints as IPv4.
///
/// ```
/// use socketserver::Address;
///
/// let address = Address::from(([127, 0, 0, 1], 9999));
/// assert_eq!(address.to_string(), "127.0.0.1:9999");
/// assert_eq!(address.port(), Some(9999));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// IPv4 or IPv6, with a port.
    Inet(SocketAddr),
    /// A Unix socket with a file.
    Unix(PathBuf),
    /// A Unix socket with a name that is not in the file system (Linux only), without the NUL
    /// byte in front.
    UnixAbstract(Vec<u8>),
    /// A Unix socket without a name.
    UnixUnnamed,
}

impl Address {
    /// Returns the IP address; `None` for a Unix socket.
    ///
    /// The IPv4 address of a client of an IPv6 socket (`::ffff:192.0.2.1`) is returned as IPv4, so
    /// that a list of addresses works for both kinds of server.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip().to_canonical()),
            _ => None,
        }
    }

    /// Returns the port; `None` for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            _ => None,
        }
    }

    /// Returns the file of a Unix socket; `None` for every other address.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            _ => None,
        }
    }

    /// Makes the address of a Unix socket of its path. A NUL byte in front makes the address
    /// abstract.
    pub(crate) fn from_unix_path(path: PathBuf) -> Self {
        match path.as_os_str().as_bytes() {
            [0, name @ ..] => Self::UnixAbstract(name.to_owned()),
            _ => Self::Unix(path),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(SocketAddr::V6(address)) => match address.ip().to_ipv4_mapped() {
                Some(ip) => write!(f, "{ip}:{}", address.port()),
                None => address.fmt(f),
            },
            Self::Inet(address) => address.fmt(f),
            Self::Unix(path) => {
                f.write_str("unix:")?;
                // A client chooses its own path, and must not be able to forge a line of the log.
                let printable = |c: char| if c.is_control() { '?' } else { c };
                let path = path.to_string_lossy();
                path.chars().try_for_each(|c| f.write_char(printable(c)))
            }
            Self::UnixAbstract(name) => write!(f, "unix:@{}", name.escape_ascii()),
            Self::UnixUnnamed => f.write_str("unix:unnamed"),
        }
    }
}

/// Conversions from types with an IP address and a port.
macro_rules! address_from {
    ($($inet:ty),*) => {$(
        impl From<$inet> for Address {
            fn from(address: $inet) -> Self {
                Self::Inet(address.into())
            }
        }
    )*};
}

address_from!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16),
    ([u8; 4], u16)
);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_people_write_it() {
        let inet = |text: &str| Address::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(inet("127.0.0.1:80").to_string(), "127.0.0.1:80");
        assert_eq!(inet("[::1]:80").to_string(), "[::1]:80");
        assert_eq!(inet("[::ffff:192.0.2.7]:80").to_string(), "192.0.2.7:80");
        assert_eq!(
            Address::from_unix_path("/run/s".into()).to_string(),
            "unix:/run/s"
        );
        assert_eq!(
            Address::from_unix_path("\0name".into()).to_string(),
            "unix:@name"
        );
        let hostile = Address::from_unix_path("/a\nlie".into());
        assert_eq!(hostile.to_string(), "unix:/a?lie");
        assert_eq!(Address::UnixUnnamed.to_string(), "unix:unnamed");
    }

    #[test]
    fn an_ipv4_client_of_an_ipv6_socket_has_an_ipv4_address() {
        let address = Address::from("[::ffff:192.0.2.7]:80".parse::<SocketAddr>().unwrap());
        assert_eq!(address.ip(), Some("192.0.2.7".parse().unwrap()));
    }
}
