//! Datagrams to a server, and datagrams from the server.

use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socketserver_handlers::auth::{SameUserError, permit_file, permit_udp_socket};

use super::time_left::TimeLeft;
use crate::failure::Problem;
use crate::url::{DatagramUrl, unix_address};

/// How long a command runner waits for room to send.
const SENDING: Duration = Duration::from_secs(10);

/// More than the largest datagram over UDP, in bytes.
const LARGEST: usize = 65_536;

/// The address of a server, after its name was looked up.
#[derive(Debug)]
pub enum Server {
    /// The addresses of the host, at least one.
    Udp(Vec<SocketAddr>),
    Unix(PathBuf),
}

impl Server {
    /// Looks up the server at `url`, for at most `timeout`.
    pub fn find(url: &DatagramUrl, timeout: Duration) -> Result<Self, Problem> {
        match url {
            DatagramUrl::Udp(place) => {
                let addresses = TimeLeft::new(timeout).look_up(place);
                addresses.map(Self::Udp).map_err(Problem::NotThere)
            }
            DatagramUrl::Unix(path) => Ok(Self::Unix(path.clone())),
        }
    }

    /// The IP addresses; none for a Unix socket.
    pub fn ips(&self) -> Vec<IpAddr> {
        match self {
            Self::Udp(addresses) => addresses.iter().map(SocketAddr::ip).collect(),
            Self::Unix(_) => Vec::new(),
        }
    }

    /// Returns a socket that is connected to the server. No datagram is sent yet, so over UDP this
    /// succeeds also if there is no server.
    pub fn connect(&self) -> Result<Datagrams, Problem> {
        let socket = match self {
            Self::Udp(addresses) => Candidates::connect(addresses).map(Datagrams::Udp),
            Self::Unix(path) => unix_socket(path).map(Datagrams::Unix),
        };
        socket.map_err(Problem::NotThere)
    }
}

/// A socket that sends to one server, and receives from that server alone.
#[derive(Debug)]
pub enum Datagrams {
    Udp(Candidates),
    Unix(UnixDatagram),
}

/// A socket for each address of a host. The client goes on to the next when an address refuses its
/// datagrams.
#[derive(Debug)]
pub struct Candidates {
    /// At least one.
    sockets: Vec<UdpSocket>,
    current: Cell<usize>,
}

impl Candidates {
    /// Drops the addresses that cannot be reached from this machine, unless no address can be
    /// reached.
    fn connect(addresses: &[SocketAddr]) -> io::Result<Self> {
        let mut failed = None;
        let mut sockets = Vec::new();
        for address in addresses {
            match udp_socket(*address) {
                Ok(socket) => sockets.push(socket),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        if sockets.is_empty() {
            return Err(failed.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()));
        }
        let current = Cell::new(0);
        Ok(Self { sockets, current })
    }

    fn current(&self) -> &UdpSocket {
        &self.sockets[self.current.get()]
    }

    /// Goes on to the next address. Returns false if there is none.
    fn go_on(&self) -> bool {
        let next = self.current.get() + 1;
        let exists = next < self.sockets.len();
        if exists {
            self.current.set(next);
        }
        exists
    }
}

impl Datagrams {
    /// Returns a socket for the server at `url`, whose look-up takes at most `timeout`.
    pub fn to(url: &DatagramUrl, timeout: Duration) -> Result<Self, Problem> {
        Server::find(url, timeout)?.connect()
    }

    /// Sends a message, and waits for the answer: up to `timeout` for both.
    pub fn exchange(&self, message: &[u8], timeout: Duration) -> Result<Vec<u8>, Problem> {
        let mut time = TimeLeft::new(timeout);
        loop {
            match self.exchange_within(message, &mut time) {
                Err(Problem::NotThere(_)) if self.go_on() => {}
                answer => return answer,
            }
        }
    }

    fn exchange_within(&self, message: &[u8], time: &mut TimeLeft) -> Result<Vec<u8>, Problem> {
        time.spend(|left| self.send_within(message, left))?;
        let answer = time.spend(|left| {
            match self {
                Self::Udp(server) => server.current().set_read_timeout(Some(left))?,
                Self::Unix(socket) => socket.set_read_timeout(Some(left))?,
            }
            self.receive_packet()
        });
        Ok(answer?)
    }

    /// Goes on to the next address of the server, after the present one has refused a datagram.
    /// Returns false if there is none.
    pub fn go_on(&self) -> bool {
        match self {
            Self::Udp(server) => server.go_on(),
            Self::Unix(_) => false,
        }
    }

    /// Sends a message. Waits up to ten seconds for room in the queue of a Unix socket.
    pub fn send(&self, message: &[u8]) -> Result<(), Problem> {
        Ok(self.send_within(message, SENDING)?)
    }

    fn send_within(&self, message: &[u8], timeout: Duration) -> io::Result<()> {
        match self {
            Self::Udp(server) => {
                server.current().set_write_timeout(Some(timeout))?;
                server.current().send(message)?
            }
            Self::Unix(socket) => {
                socket.set_write_timeout(Some(timeout))?;
                socket.send(message)?
            }
        };
        Ok(())
    }

    /// Refuses a server on this machine that is not this user's.
    pub fn permit(&self) -> Result<(), SameUserError> {
        match self {
            Self::Udp(server) => match server.current().peer_addr() {
                Ok(address) if !address.ip().to_canonical().is_loopback() => Ok(()),
                Ok(address) => permit_udp_socket(address),
                Err(error) => Err(SameUserError::Unknown(error)),
            },
            Self::Unix(socket) => match socket.peer_addr() {
                Ok(address) => permit_file(address.as_pathname().unwrap_or(Path::new(""))),
                Err(error) => Err(SameUserError::Unknown(error)),
            },
        }
    }

    /// Waits for a message.
    pub fn receive(&self) -> Result<Vec<u8>, Problem> {
        Ok(self.receive_packet()?)
    }

    fn receive_packet(&self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; LARGEST];
        let length = loop {
            let received = match self {
                Self::Udp(server) => server.current().recv(&mut packet),
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
            Self::Udp(server) => server.current().as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// Binds the loopback for a server of the loopback, so that no other machine reaches the socket.
fn udp_socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let here: IpAddr = match (server.ip().to_canonical().is_loopback(), server.ip()) {
        (true, IpAddr::V4(_)) => Ipv4Addr::LOCALHOST.into(),
        (true, IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_none() => Ipv6Addr::LOCALHOST.into(),
        (true, IpAddr::V6(_)) => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        (false, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (false, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((here, 0))?;
    socket.connect(server)?;
    // No server listens on this port if the system gives the port to the client itself.
    if socket.local_addr()? == socket.peer_addr()? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    socket.set_nonblocking(true)?;
    drop_received(|| socket.recv(&mut [0]));
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Binds an abstract name, so that the server can answer and no file is left behind.
fn unix_socket(server: &Path) -> io::Result<UnixDatagram> {
    let name = format!("socketserver-client-{:016x}", getrandom::u64()?);
    let address = unix::net::SocketAddr::from_abstract_name(name)?;
    let socket = UnixDatagram::bind_addr(&address)?;
    socket.connect_addr(&unix_address(server)?)?;
    socket.set_nonblocking(true)?;
    drop_received(|| socket.recv(&mut [0]));
    socket.set_nonblocking(false)?;
    Ok(socket)
}

/// Drops the datagrams that were received before the socket was connected, from any sender: the
/// operating system keeps them. `receive` does not wait.
fn drop_received(receive: impl Fn() -> io::Result<usize>) {
    // An error that the socket has kept does not matter before the first message.
    while !receive().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// A socket that answers the first datagram with `answer`.
    fn answering(answer: &'static [u8]) -> SocketAddr {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            let (_, client) = server.recv_from(&mut [0; 10]).unwrap();
            server.send_to(answer, client).unwrap();
        });
        address
    }

    /// An address that refuses datagrams. Nobody else has an address of this kind by chance.
    fn refusing() -> SocketAddr {
        let taken = UdpSocket::bind("127.77.0.1:0").unwrap();
        taken.local_addr().unwrap()
    }

    #[test]
    fn a_message_that_one_address_refuses_goes_to_the_next() {
        let addresses = [refusing(), refusing(), answering(b"here")];
        let server = Server::Udp(addresses.to_vec()).connect().unwrap();
        assert_eq!(server.exchange(b"hello", PATIENCE).unwrap(), b"here");
    }

    #[test]
    fn an_address_that_cannot_be_reached_is_left_out() {
        // A zone that no interface has.
        let nowhere = "[fe80::1%4000000]:7".parse().unwrap();
        let addresses = vec![nowhere, answering(b"here")];
        let server = Server::Udp(addresses).connect().unwrap();
        assert_eq!(server.exchange(b"hello", PATIENCE).unwrap(), b"here");
        Server::Udp(vec![nowhere]).connect().unwrap_err();
    }

    #[test]
    fn if_every_address_refuses_there_is_no_server() {
        let server = Server::Udp(vec![refusing(), refusing()]).connect().unwrap();
        let problem = server.exchange(b"hello", PATIENCE).unwrap_err();
        assert!(matches!(problem, Problem::NotThere(_)), "{problem:?}");
    }
}
