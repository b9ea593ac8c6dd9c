//! The user at the other end of a connection of this machine, or behind a datagram.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use socketserver::{Address, StreamRequest};

/// The number of a user, as the operating system has it.
pub(super) type UserId = u32;

/// The user whose process has opened the other end of the connection.
///
/// Over a Unix socket the operating system keeps the answer with the connection (`SO_PEERCRED`).
/// Over TCP the answer is the owner of the client's socket in Linux's `/proc/net/tcp`.
///
/// # Errors
///
/// If the system does not know the client's socket: the client is on another machine, in another
/// network namespace, or has left.
pub(super) fn of_connection(request: &StreamRequest) -> io::Result<UserId> {
    if !matches!(request.client_address(), Address::Inet(_)) {
        return Ok(request.peer_credentials()?.user_id);
    }
    let unsupported = || io::Error::new(ErrorKind::Unsupported, "the request has no socket");
    let socket = request.socket().ok_or_else(unsupported)?;
    let stream = TcpStream::from(socket.try_clone_to_owned()?);
    let (client, server) = (
        canonical(stream.peer_addr()?),
        canonical(stream.local_addr()?),
    );
    let is_client = |it: &Entry| it.local == client && it.remote == server;
    owner_of(["/proc/net/tcp", "/proc/net/tcp6"], is_client)
}

/// The user who owns every UDP socket that can have sent from this loopback address.
///
/// # Errors
///
/// If the address is not a loopback address, or no socket has the address, or sockets of several
/// users have it.
pub(super) fn of_udp_socket(address: SocketAddr) -> io::Result<UserId> {
    let address = canonical(address);
    if !address.ip().is_loopback() {
        return Err(unknown("the address is not a loopback address"));
    }
    let is_sender = |it: &Entry| {
        let ip = it.local.ip();
        it.local.port() == address.port() && (ip == address.ip() || ip.is_unspecified())
    };
    owner_of(["/proc/net/udp", "/proc/net/udp6"], is_sender)
}

/// A socket in a table of `/proc/net`.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    local: SocketAddr,
    remote: SocketAddr,
    user: UserId,
    /// 0 for a socket that no process has open, of which the system does not know the user either.
    inode: u64,
}

/// The user of all sockets that `is_meant` returns true for.
fn owner_of(tables: [&str; 2], is_meant: impl Fn(&Entry) -> bool) -> io::Result<UserId> {
    let mut owner = None;
    for table in tables {
        let table = match fs::read_to_string(table) {
            // A system without IPv6 has no second table.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            table => table?,
        };
        for entry in table.lines().filter_map(Entry::parse).filter(&is_meant) {
            if entry.inode == 0 {
                return Err(unknown("no process has the peer's socket open any more"));
            }
            if owner.is_some_and(|owner| owner != entry.user) {
                return Err(unknown("sockets of several users have the peer's address"));
            }
            owner = Some(entry.user);
        }
    }
    owner.ok_or_else(|| unknown("no socket of this machine has the peer's address"))
}

fn unknown(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::NotFound, reason)
}

impl Entry {
    /// Parses a line; `None` for the headline, and for a line of another form.
    fn parse(line: &str) -> Option<Self> {
        let fields = Vec::from_iter(line.split_whitespace());
        Some(Self {
            local: address(fields.get(1)?)?,
            remote: address(fields.get(2)?)?,
            user: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    }
}

/// Parses `0100007F:1F90`: words of four bytes in the processor's order, and a port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let digits = ip.get(at..at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(canonical(SocketAddr::new(ip, port)))
}

/// The address without a zone; an IPv4 address in an IPv6 one as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_line_of_a_table_has_the_addresses_the_user_and_the_inode() {
        let line = "  11: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  \
                    1000        0 35482 1 0000000000000000 20 4 30 10 -1";
        if cfg!(target_endian = "little") {
            let entry = Entry {
                local: "127.0.0.1:8080".parse().unwrap(),
                remote: "127.0.0.1:50000".parse().unwrap(),
                user: 1000,
                inode: 35482,
            };
            assert_eq!(Entry::parse(line), Some(entry));
            let mapped = address("0000000000000000FFFF00000100007F:0050");
            assert_eq!(mapped, Some("127.0.0.1:80".parse().unwrap()));
            let ipv6 = address("00000000000000000000000001000000:0050");
            assert_eq!(ipv6, Some("[::1]:80".parse().unwrap()));
        }
        for line in [
            "",
            "  sl  local_address rem_address   st",
            "1: 2 3 4 5 6 7 8 9 10",
        ] {
            assert_eq!(Entry::parse(line), None);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_owner_of_a_udp_socket_is_known_on_loopback_addresses_alone() {
        let own = nix::unistd::geteuid().as_raw();
        for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = UdpSocket::bind(bound).unwrap();
            let port = socket.local_addr().unwrap().port();
            let ask = |ip: [u8; 4]| of_udp_socket((ip, port).into());
            assert_eq!(ask([127, 0, 0, 1]).unwrap(), own);
            assert!(ask([192, 0, 2, 1]).is_err());
            drop(socket);
            assert!(of_udp_socket(([127, 255, 0, 1], port).into()).is_err());
        }
    }
}
