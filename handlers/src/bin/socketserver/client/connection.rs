//! A connection to a server.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socketserver_handlers::auth::{Digest, Key, answer_challenge};

use super::failure::Problem;
use crate::url::Url;

/// How long a server has to accept a connection, and to send its challenge.
const BEGINNING: Duration = Duration::from_secs(10);

/// How to reach a server.
#[derive(Debug)]
pub struct Connector {
    pub url: Url,
    /// What a server wants that asks its clients who they are.
    pub link: Option<(Key, Digest)>,
    /// How long to wait for what the server sends next.
    pub timeout: Duration,
}

impl Connector {
    /// Connects, and answers the challenge if there is a key.
    pub fn connect(&self) -> Result<Connection, Problem> {
        let mut connection = Connection::open(&self.url).map_err(Problem::NotThere)?;
        if let Some((key, digest)) = &self.link {
            connection.set_timeout(BEGINNING)?;
            answer_challenge(&mut connection, key, *digest).map_err(Problem::Challenge)?;
        }
        connection.set_timeout(self.timeout)?;
        Ok(connection)
    }

    /// Says of a server that leaves what that may mean if it has asked for an answer.
    pub fn explain(&self, problem: Problem) -> Problem {
        match problem {
            Problem::Left if self.link.is_some() => Problem::LeftAfterChallenge,
            problem => problem,
        }
    }
}

/// A stream to a server.
#[derive(Debug)]
pub enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection {
    fn open(url: &Url) -> io::Result<Self> {
        match url {
            Url::Tcp(place) => connect_tcp(&place.to_string()).map(Self::Tcp),
            Url::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            Url::Udp(_) | Url::Unixgram(_) => Err(io::Error::other("it has no connections")),
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

/// Connects to the first address of the place that accepts.
fn connect_tcp(place: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the host has no address");
    for address in place.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, BEGINNING) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
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
