//! Clients of the servers under test, over every family.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use socketserver::Address;
use tempfile::TempDir;

use crate::waiting::LIMIT;

fn sockaddr(address: &Address) -> SockAddr {
    match address {
        Address::Inet(address) => SockAddr::from(*address),
        Address::Unix(path) => SockAddr::unix(path).unwrap(),
        Address::UnixAbstract(name) => {
            let path = [b"\0", &name[..]].concat();
            SockAddr::unix(OsStr::from_bytes(&path)).unwrap()
        }
        other => panic!("no client connects to {other}"),
    }
}

/// The client's side of a connection. Its drop ends the connection in both directions, even if
/// another process has a copy of its descriptor: a child that a server forks in this process has
/// copies of all descriptors.
#[derive(Debug)]
pub struct StreamClient {
    reader: BufReader<Socket>,
}

impl StreamClient {
    /// Connects to `address`; panics if that fails.
    pub fn connect(address: &Address) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}"))
    }

    /// Connects to `address`, or returns the error. Reads and writes of the connection fail after
    /// [`LIMIT`].
    pub fn try_connect(address: &Address) -> io::Result<Self> {
        let address = sockaddr(address);
        let socket = Socket::new(address.domain(), Type::STREAM, None)?;
        socket.connect(&address)?;
        socket.set_read_timeout(Some(LIMIT))?;
        socket.set_write_timeout(Some(LIMIT))?;
        Ok(Self {
            reader: BufReader::new(socket),
        })
    }

    /// The client's end of the connection.
    pub fn socket(&self) -> &Socket {
        self.reader.get_ref()
    }

    /// Sends all of `text`.
    pub fn send(&self, text: &str) {
        self.socket().write_all(text.as_bytes()).unwrap();
    }

    /// Returns the next line without its end; empty if the server has closed.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// Waits for the next `count` bytes, and returns them.
    pub fn receive_exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Returns everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        self.try_rest().unwrap()
    }

    /// Returns everything until the server closes, or the error.
    pub fn try_rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Waits until the server has closed, in good order or not. Panics if bytes come before that.
    pub fn wait_for_close(&mut self) {
        let mut bytes = Vec::new();
        match self.reader.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the server has not closed: {error}"),
        }
        assert!(bytes.is_empty(), "{}", bytes.escape_ascii());
    }

    /// Ends the writing side: the server reads the end of the stream.
    pub fn finish_sending(&self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.socket().set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl Drop for StreamClient {
    fn drop(&mut self) {
        let is_to_reset = self.socket().linger().ok() == Some(Some(Duration::ZERO));
        if !is_to_reset {
            // The call fails if the server was faster.
            let _ = self.socket().shutdown(Shutdown::Both);
        }
    }
}

/// A socket that sends datagrams to one server and receives its replies.
#[derive(Debug)]
pub struct DatagramClient {
    socket: Socket,
    _directory: Option<TempDir>,
}

impl DatagramClient {
    /// Makes a client that can receive replies: over Unix sockets, a client with a name.
    pub fn connect(address: &Address) -> Self {
        let mut client = Self::connect_unnamed(address, |_| {});
        if !matches!(address, Address::Inet(_)) {
            let directory = crate::short_paths::directory();
            let name = SockAddr::unix(directory.path().join("client")).unwrap();
            client = Self::connect_unnamed(address, |socket| socket.bind(&name).unwrap());
            client._directory = Some(directory);
        }
        client
    }

    /// Makes a client without a name, if the family has such clients.
    pub fn connect_without_name(address: &Address) -> Self {
        Self::connect_unnamed(address, |_| {})
    }

    fn connect_unnamed(address: &Address, before: impl FnOnce(&Socket)) -> Self {
        let address = sockaddr(address);
        let socket = Socket::new(address.domain(), Type::DGRAM, None).unwrap();
        before(&socket);
        socket.connect(&address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.set_write_timeout(Some(LIMIT)).unwrap();
        Self {
            socket,
            _directory: None,
        }
    }

    /// Sends `packet` as one datagram.
    pub fn send(&self, packet: &[u8]) {
        let sent = uninterrupted(|| self.socket.send(packet));
        assert_eq!(sent.unwrap(), packet.len());
    }

    /// Waits for the next datagram, and returns it.
    pub fn receive(&self) -> Vec<u8> {
        let mut packet = vec![0; 70_000];
        let length = uninterrupted(|| (&self.socket).read(&mut packet)).unwrap();
        packet.truncate(length);
        packet
    }

    /// The client's socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }
}

/// Repeats a call that a signal has interrupted, such as that of a child's end: the kernel does not
/// restart the calls of a socket with a timeout.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether a client on this machine has IPv6.
pub fn has_ipv6() -> bool {
    let loopback: std::net::SocketAddr = "[::1]:0".parse().unwrap();
    let is_there = Socket::new(Domain::IPV6, Type::STREAM, None)
        .and_then(|socket| socket.bind(&loopback.into()))
        .is_ok();
    if !is_there {
        println!("skipped for IPv6: this machine has no address ::1");
    }
    is_there
}
