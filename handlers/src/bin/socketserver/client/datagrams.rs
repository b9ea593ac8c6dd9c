//! Datagrams to a server, and from it.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::failure::Problem;
use crate::url::{DatagramUrl, HostPort};

/// More than the largest datagram over UDP, in bytes.
const LARGEST: usize = 65_536;

/// The address of a server, after its name was looked up.
#[derive(Debug)]
pub enum Server {
    Udp(SocketAddr),
    Unix(PathBuf),
}

impl Server {
    /// Looks up the server at `url`.
    pub fn find(url: &DatagramUrl) -> Result<Self, Problem> {
        match url {
            DatagramUrl::Udp(place) => first_address(place).map(Self::Udp),
            DatagramUrl::Unix(path) => Ok(Self::Unix(path.clone())),
        }
    }

    /// The IP address; `None` for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Udp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Returns a socket that is connected to the server. No datagram is sent yet, so over UDP this
    /// succeeds also if there is no server.
    pub fn connect(&self) -> Result<Datagrams, Problem> {
        let socket = match self {
            Self::Udp(address) => udp_socket(*address).map(Datagrams::Udp),
            Self::Unix(path) => unix_socket(path).map(Datagrams::Unix),
        };
        socket.map_err(Problem::NotThere)
    }
}

/// A socket that sends to one server, and receives from that server alone.
#[derive(Debug)]
pub enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// Returns a socket for the server at `url`.
    pub fn to(url: &DatagramUrl) -> Result<Self, Problem> {
        Server::find(url)?.connect()
    }

    /// Sends a message, and waits up to `timeout` for the answer.
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

fn first_address(place: &HostPort) -> Result<SocketAddr, Problem> {
    let addresses = place.addresses().map_err(Problem::NotThere)?;
    let none = || Problem::NotThere(ErrorKind::AddrNotAvailable.into());
    addresses.into_iter().next().ok_or_else(none)
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

/// Binds an abstract name, so that the server can answer and no file is left behind.
fn unix_socket(server: &Path) -> io::Result<UnixDatagram> {
    let name = format!("socketserver-client-{:016x}", getrandom::u64()?);
    let address = unix::net::SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::bind_addr(&address)?;
    socket.connect(server)?;
    Ok(socket)
}
