//! Datagrams to a server, and from it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::Problem;
use crate::url::Url;

/// More than a datagram can have over UDP.
const LARGEST: usize = 65_536;

/// Where a server is, once its name has been looked up.
#[derive(Debug)]
pub enum Server {
    Udp(SocketAddr),
    Unix(PathBuf),
}

impl Server {
    /// Looks up the server at `url`.
    pub fn find(url: &Url) -> Result<Self, Problem> {
        let found = match url {
            Url::Udp(place) => first_address(&place.to_string()).map(Self::Udp),
            Url::Unixgram(path) => Ok(Self::Unix(path.clone())),
            Url::Tcp(_) | Url::Unix(_) => Err(io::Error::other("it takes no datagrams")),
        };
        found.map_err(Problem::NotThere)
    }

    /// Its IP address, if it is not a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Udp(address) => Some(address.ip().to_canonical()),
            Self::Unix(_) => None,
        }
    }

    /// A socket for it. Nothing is sent yet, so over UDP nobody need be there.
    pub fn connect(&self) -> Result<Datagrams, Problem> {
        let socket = match self {
            Self::Udp(address) => udp_socket(*address).map(Datagrams::Udp),
            Self::Unix(path) => unix_socket(path).map(Datagrams::Unix),
        };
        socket.map_err(Problem::NotThere)
    }
}

/// A socket that sends to one server, and receives from it alone.
#[derive(Debug)]
pub enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// A socket for the server at `url`.
    pub fn to(url: &Url) -> Result<Self, Problem> {
        Server::find(url)?.connect()
    }

    /// Sends a message, and waits so long for the answer.
    pub fn exchange(&self, message: &[u8], timeout: Duration) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Udp(socket) => socket.set_read_timeout(Some(timeout))?,
            Self::Unix(socket) => socket.set_read_timeout(Some(timeout))?,
        }
        self.send(message)?;
        self.receive()
    }

    /// Sends a message.
    pub fn send(&self, message: &[u8]) -> Result<(), Problem> {
        match self {
            Self::Udp(socket) => socket.send(message)?,
            Self::Unix(socket) => socket.send(message)?,
        };
        Ok(())
    }

    /// Waits for a message.
    pub fn receive(&self) -> Result<Vec<u8>, Problem> {
        let mut packet = vec![0; LARGEST];
        let length = loop {
            let received = match self {
                Self::Udp(socket) => socket.recv(&mut packet),
                Self::Unix(socket) => socket.recv(&mut packet),
            };
            match received {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received?,
            }
        };
        packet.truncate(length);
        Ok(packet)
    }
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Udp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

fn first_address(place: &str) -> io::Result<SocketAddr> {
    let mut addresses = place.to_socket_addrs()?;
    let none = || io::Error::other("the host has no address");
    addresses.next().ok_or_else(none)
}

fn udp_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    Ok(socket)
}

/// A socket with a name that no file has, so that the server can answer and nothing is left behind.
fn unix_socket(server: &Path) -> io::Result<UnixDatagram> {
    let name = format!("socketserver-client-{:016x}", getrandom::u64()?);
    let address = unix::net::SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::bind_addr(&address)?;
    socket.connect(server)?;
    Ok(socket)
}
