//! A client that asks for the same resource again and again.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;

use crate::site::Resource;

/// A response that takes longer is lost.
pub const LONGEST: Duration = Duration::from_secs(5);

/// A connection, and what is known of its responses. It ends with a reset, so that its port is free
/// at once.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    /// The length of a response, the same for each.
    length: usize,
    /// Whether the server keeps the connection.
    is_kept: bool,
    /// The bytes that are still to come.
    left: usize,
}

/// How far a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Arriving,
    /// It is whole, and the server keeps the connection.
    Whole,
    /// It is whole, and the client has connected anew.
    WholeAndClosed,
}

impl Client {
    /// Connects, and exchanges a request and its response, all of which is checked.
    pub fn connect(server: SocketAddr, resource: Resource) -> io::Result<Self> {
        let mut client = Self {
            stream: stream(server)?,
            request: request(server, resource),
            length: 0,
            is_kept: true,
            left: 0,
        };
        client.exchange(resource)?;
        if !client.is_kept {
            client.stream = stream(server)?;
        }
        Ok(client)
    }

    /// As many clients.
    pub fn connect_all(
        server: SocketAddr,
        resource: Resource,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        (0..count)
            .map(|_| Self::connect(server, resource))
            .collect()
    }

    /// Sends the request, waits for the response, and checks all of it.
    pub fn exchange(&mut self, resource: Resource) -> io::Result<()> {
        self.stream.write_all(&self.request)?;
        let mut response = Vec::new();
        let head = loop {
            let end = response.windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            let mut buffer = [0; 4096];
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            response.extend_from_slice(&buffer[..count]);
        };
        let text = String::from_utf8_lossy(&response[..head]).to_lowercase();
        let is_whole = text.contains(&format!("content-length: {}\r\n", resource.length));
        if !text
            .split("\r\n")
            .next()
            .is_some_and(|it| it.ends_with(" 200 ok"))
            || !is_whole
        {
            return Err(io::Error::other(format!(
                "this is no such response: {text}"
            )));
        }
        self.length = head + resource.length;
        self.is_kept = text.starts_with("http/1.1") && !text.contains("connection: close");
        let received = response.len();
        response.resize(self.length.max(received), 0);
        self.stream.read_exact(&mut response[received..])?;
        if response[head..] != resource.content() {
            return Err(io::Error::other("the body of the response is another"));
        }
        Ok(())
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends the request.
    pub fn send(&mut self) -> io::Result<()> {
        self.left = self.length;
        self.stream.write_all(&self.request)
    }

    /// Receives what has arrived. The bytes of the body are discarded in the kernel, where that is
    /// cheapest: the generator must not be what is measured.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Progress> {
        let is_first = self.left == self.length;
        let count = match is_first {
            true => {
                let first = buffer.len().min(4096);
                let count = self.stream.read(&mut buffer[..first])?;
                let begin = &buffer[..count.min(12)];
                if begin.get(5..) != Some(b"1.1 200") && begin.get(5..) != Some(b"1.0 200") {
                    return Err(io::Error::other("the response begins with another status"));
                }
                count
            }
            false => recv(self.stream.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?,
        };
        if count == 0 || count > self.left {
            let left = self.left;
            let message = format!("{count} bytes have come in place of {left}");
            return Err(io::Error::other(message));
        }
        self.left -= count;
        match self.left {
            0 if self.is_kept => Ok(Progress::Whole),
            0 => {
                self.stream = stream(self.stream.peer_addr()?)?;
                Ok(Progress::WholeAndClosed)
            }
            _ => Ok(Progress::Arriving),
        }
    }
}

/// A connection that is closed with a reset.
pub fn stream(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LONGEST))?;
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

fn request(server: SocketAddr, resource: Resource) -> Vec<u8> {
    let target = resource.target;
    format!("GET {target} HTTP/1.1\r\nHost: {server}\r\n\r\n").into()
}
