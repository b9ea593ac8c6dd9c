//! Conversions between [`Address`] and the operating system's form of an address.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::libc::sockaddr_un;
use socket2::SockAddr;

use crate::transport::sys;
use crate::values::address::Address;

/// Converts the operating system's form into an address.
pub(crate) fn from_sockaddr(address: &SockAddr) -> Address {
    if let Some(inet) = address.as_socket() {
        Address::Inet(inet)
    } else if let Some(path) = address.as_pathname() {
        Address::Unix(path.to_owned())
    } else if let Some(name) = sys::abstract_name(address) {
        Address::UnixAbstract(name.to_owned())
    } else {
        Address::UnixUnnamed
    }
}

/// Converts an address into the operating system's form. Fails if a path is too long for that form,
/// or if a Unix socket has no name.
pub(crate) fn to_sockaddr(address: &Address) -> io::Result<SockAddr> {
    match address {
        Address::Inet(address) => Ok(SockAddr::from(*address)),
        Address::Unix(path) => {
            check_length("path", path.as_os_str().len())?;
            SockAddr::unix(path)
        }
        Address::UnixAbstract(name) => {
            check_length("name", name.len())?;
            let path = [&[0], name.as_slice()].concat();
            SockAddr::unix(PathBuf::from(OsString::from_vec(path)))
        }
        Address::UnixUnnamed => Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "the client's socket has no name, so nothing can be sent to it; a client that wants a \
             reply binds its own socket first",
        )),
    }
}

/// The most bytes of the path or the abstract name of a Unix socket: `sockaddr_un` has a byte more.
const LONGEST_PATH: usize =
    size_of::<sockaddr_un>() - std::mem::offset_of!(sockaddr_un, sun_path) - 1;

fn check_length(what: &str, length: usize) -> io::Result<()> {
    if length <= LONGEST_PATH {
        return Ok(());
    }
    let text = format!(
        "the {what} has {length} bytes, and that of a Unix socket has at most {LONGEST_PATH}; \
         choose a shorter {what}"
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

    use super::*;

    #[test]
    fn every_address_survives_the_way_through_the_operating_system_s_form() {
        for address in [
            Address::from(([127, 0, 0, 1], 80)),
            Address::from("[::1]:80".parse::<SocketAddr>().unwrap()),
            Address::from_unix_path("/run/s".into()),
            // With a zone, and as an IPv4 client of an IPv6 socket.
            SocketAddr::from(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 80, 0, 4)).into(),
            Address::from("[::ffff:192.0.2.7]:80".parse::<SocketAddr>().unwrap()),
            Address::Unix(OsString::from_vec(b"/run/\xff\n".to_vec()).into()),
            Address::Unix("relative".into()),
            Address::Unix("p".repeat(107).into()),
            #[cfg(target_os = "linux")]
            Address::from_unix_path("\0name".into()),
            #[cfg(target_os = "linux")]
            Address::UnixAbstract(b"\0two\0\xff\0".to_vec()),
            #[cfg(target_os = "linux")]
            Address::UnixAbstract(vec![7; 107]),
        ] {
            assert_eq!(from_sockaddr(&to_sockaddr(&address).unwrap()), address);
        }
    }

    #[test]
    fn a_path_has_at_most_the_length_that_the_error_names() {
        let path = |length| Address::from_unix_path("x".repeat(length).into());
        assert!(to_sockaddr(&path(LONGEST_PATH)).is_ok());
        let error = to_sockaddr(&path(LONGEST_PATH + 1)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("at most {LONGEST_PATH};")), "{text}");
        let name = |length| Address::UnixAbstract(vec![b'x'; length]);
        #[cfg(target_os = "linux")]
        assert!(to_sockaddr(&name(LONGEST_PATH)).is_ok());
        let error = to_sockaddr(&name(LONGEST_PATH + 1)).unwrap_err();
        assert!(error.to_string().starts_with("the name has"), "{error}");
    }
}
