//! A connection to a server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socketserver_handlers::auth::answer_challenge;

use crate::auth_options::Link;
use crate::failure::{Failure, Problem};
use crate::url::{HostPort, StreamUrl};

/// How long a server has to accept a connection, and to send its challenge.
const BEGINNING: Duration = Duration::from_secs(10);

/// How to reach a server.
#[derive(Debug)]
pub struct Connector {
    pub url: StreamUrl,
    /// The key and the digest, for a server that authenticates its clients.
    pub link: Option<Link>,
    /// How long to wait for what the server sends next.
    pub timeout: Duration,
}

impl Connector {
    /// Connects, and answers the challenge if there is a key.
    pub fn connect(&self) -> Result<Connection, Problem> {
        let mut connection = Connection::open(&self.url).map_err(Problem::NotThere)?;
        if let Some(Link { key, digest }) = &self.link {
            connection.set_timeout(BEGINNING)?;
            answer_challenge(&mut connection, key, *digest).map_err(Problem::Challenge)?;
        }
        connection.set_timeout(self.timeout)?;
        Ok(connection)
    }

    /// The failure of a conversation with this server. A server that leaves may have refused the
    /// answer to its challenge.
    pub fn failure(&self, problem: Problem) -> Failure {
        let problem = match problem {
            Problem::Left if self.link.is_some() => Problem::LeftAfterChallenge,
            problem => problem,
        };
        problem.at(&self.url.clone().into())
    }
}

/// A stream to a server.
#[derive(Debug)]
pub enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn open(url: &StreamUrl) -> io::Result<Self> {
        match url {
            StreamUrl::Tcp(place) => connect_tcp(place).map(Self::Tcp),
            StreamUrl::Unix(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        let timeout = Some(timeout);
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)
            }
        }
    }
}

/// Connects to the first address of the host that accepts. Each has the time [`BEGINNING`]. Returns
/// the error of the first address, but rather that of an address that refuses.
fn connect_tcp(place: &HostPort) -> io::Result<TcpStream> {
    let mut failed: Option<io::Error> = None;
    for address in place.addresses()? {
        match TcpStream::connect_timeout(&address, BEGINNING) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => failed = Some(error),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
