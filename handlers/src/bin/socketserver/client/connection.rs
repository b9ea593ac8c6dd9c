//! A connection to a server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
#[cfg(feature = "files")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

#[cfg(feature = "files")]
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(feature = "tls")]
use rustls::ClientConnection;
use socket2::{Domain, SockAddr, Type};
use socketserver_handlers::auth::answer_challenge;

use super::time_left::{Exchanges, TimeLeft};
#[cfg(feature = "tls")]
use super::tls::ClientTls;
use crate::auth_options::Link;
use crate::failure::{Failure, Problem};
use crate::url::{HostPort, StreamUrl};

/// How to reach a server.
#[derive(Debug)]
pub struct Connector {
    pub url: StreamUrl,
    /// The key and the digest, for a server that authenticates its clients.
    pub link: Option<Link>,
    #[cfg(feature = "tls")]
    pub tls: Option<ClientTls>,
    /// How long an exchange may wait for the server, and how long the connection may take.
    pub timeout: Duration,
}

impl Connector {
    /// Connects, encrypts, and answers the challenge if there is a key. An exchange that
    /// [begins](Exchanges::begin_exchange) has the whole time again.
    pub fn connect(&self) -> Result<Connection, Problem> {
        let mut time = TimeLeft::new(self.timeout);
        let socket = Socket::open(&self.url, &mut time).map_err(Problem::NotThere)?;
        let mut connection = Connection {
            plain: Plain { socket, time },
            #[cfg(feature = "tls")]
            tls: None,
        };
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            connection.encrypt(tls)?;
        }
        if let Some(Link { key, digest }) = &self.link {
            answer_challenge(&mut connection, key, *digest).map_err(Problem::Challenge)?;
        }
        Ok(connection)
    }

    /// The failure of a conversation with this server. If the server closes early, it may have
    /// refused the answer to its challenge.
    pub fn failure(&self, problem: Problem) -> Failure {
        let problem = match problem {
            Problem::Left if self.link.is_some() => Problem::LeftAfterChallenge,
            problem => problem,
        };
        problem.at(&self.url.clone().into())
    }
}

/// A stream to a server, on which each exchange has a bounded time.
#[derive(Debug)]
pub struct Connection {
    plain: Plain,
    /// Set if the connection is encrypted.
    #[cfg(feature = "tls")]
    tls: Option<Box<ClientConnection>>,
}

#[cfg(feature = "files")]
impl Connection {
    /// Whether something has arrived, or the server has ended the connection.
    pub fn has_arrived(&self) -> bool {
        let mut sockets = [PollFd::new(
            self.plain.socket.descriptor(),
            PollFlags::POLLIN,
        )];
        poll(&mut sockets, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Whether nobody can read the bytes between here and the server: the connection is encrypted,
    /// or does not leave this machine.
    pub fn is_private(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return true;
        }
        match &self.plain.socket {
            Socket::Tcp(stream) => {
                let peer = stream.peer_addr();
                peer.is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
            }
            Socket::Unix(_) => true,
        }
    }
}

impl Connection {
    /// Half-closes a connection that is not encrypted: the server reads the end of the stream, and
    /// may still answer.
    pub fn end_output(&self) -> io::Result<()> {
        match &self.plain.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

#[cfg(feature = "tls")]
impl Connection {
    fn encrypt(&mut self, tls: &ClientTls) -> Result<(), Problem> {
        let mut tls = tls.begin().map_err(Problem::Handshake)?;
        while tls.is_handshaking() {
            let done = tls.complete_io(&mut self.plain);
            done.map_err(|error| match error.kind() {
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Problem::Handshake(error),
                _ => error.into(),
            })?;
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }
}

impl Exchanges for Connection {
    fn begin_exchange(&mut self) {
        self.plain.time.begin();
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return rustls::Stream::new(&mut **tls, &mut self.plain).read(buffer);
        }
        self.plain.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return rustls::Stream::new(&mut **tls, &mut self.plain).write(bytes);
        }
        self.plain.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &mut self.tls {
            return rustls::Stream::new(&mut **tls, &mut self.plain).flush();
        }
        self.plain.flush()
    }
}

#[cfg(feature = "tls")]
impl Drop for Connection {
    /// Informs the server of the end (`close_notify`).
    fn drop(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // The flush fails if the server has closed.
            let _ = rustls::Stream::new(&mut **tls, &mut self.plain).flush();
        }
    }
}

/// The bytes as they are on the network.
#[derive(Debug)]
struct Plain {
    socket: Socket,
    time: TimeLeft,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { socket, time } = self;
        time.spend(|left| match socket {
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.read(buffer)
            }
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(left))?;
                stream.read(buffer)
            }
        })
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { socket, time } = self;
        time.spend(|left| match socket {
            Socket::Tcp(stream) => {
                stream.set_write_timeout(Some(left))?;
                stream.write(bytes)
            }
            Socket::Unix(stream) => {
                stream.set_write_timeout(Some(left))?;
                stream.write(bytes)
            }
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    #[cfg(feature = "files")]
    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    fn open(url: &StreamUrl, time: &mut TimeLeft) -> io::Result<Self> {
        match url {
            StreamUrl::Tcp(place) | StreamUrl::Tls(place) => {
                connect_tcp(place, time).map(Self::Tcp)
            }
            StreamUrl::Unix(path) => connect_unix(path, time).map(Self::Unix),
        }
    }
}

/// Connects to the first address of the host that accepts. Each address has its share of the time,
/// so that an address that does not answer leaves time for the next. Returns the error of an
/// address that refuses, or else the error of the first address.
fn connect_tcp(place: &HostPort, time: &mut TimeLeft) -> io::Result<TcpStream> {
    let mut failed: Option<io::Error> = None;
    let addresses = time.look_up(place)?;
    for (address, untried) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = u32::try_from(untried).unwrap_or(u32::MAX);
        match time.spend(|left| connect_to(address, left / share)) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => failed = Some(error),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.unwrap_or_else(|| ErrorKind::AddrNotAvailable.into()))
}

/// Connects to an address. A connection of the client with itself is an error. Such a connection is
/// possible if no server listens on a port that is in the system's range for clients: the system
/// may give the client that port.
fn connect_to(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let timeout = timeout.max(Duration::from_millis(1));
    let stream = TcpStream::connect_timeout(address, timeout)?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

/// Connects to a Unix socket. `SO_SNDTIMEO` bounds the wait for a place in a full backlog, which
/// would be unbounded otherwise.
fn connect_unix(path: &Path, time: &mut TimeLeft) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    let connected = time.spend(|left| {
        socket.set_write_timeout(Some(left))?;
        socket.connect(&address)
    });
    match connected {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io::Error::new(
            ErrorKind::TimedOut,
            "the server does not accept connections, and the queue of clients is full",
        )),
        Err(error) => Err(error),
        Ok(()) => Ok(UnixStream::from(OwnedFd::from(socket))),
    }
}
