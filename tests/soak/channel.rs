//! The bytes of a client's connection: as they are, behind the header of a proxy, or encrypted.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use rustls::{ClientConnection, StreamOwned};
use socket2::Socket;

use crate::kinds::Transport;
use crate::site::Site;

/// A connection, to which a server of its transport listens.
#[derive(Debug)]
pub enum Channel {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Channel {
    /// What goes over `socket`, which is connected. The handshake comes with the first bytes.
    pub fn over(socket: Socket, site: &Site<'_>) -> Self {
        match site.kind.transport {
            Transport::Tls => {
                let tls = site.tls_clients.begin();
                Self::Tls(Box::new(StreamOwned::new(tls, socket)))
            }
            Transport::Proxied => {
                // It fails if the server has closed, as everything that follows then does.
                let _ = (&socket).write_all(&header(&socket));
                Self::Plain(socket)
            }
            _ => Self::Plain(socket),
        }
    }

    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Gives notice, where there is such, that nothing more comes. It fails if the server was
    /// faster.
    pub fn end(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

impl Read for Channel {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(piece),
            Self::Tls(stream) => stream.read(piece),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A header of either version, which states where the socket is or nothing at all.
fn header(socket: &Socket) -> Vec<u8> {
    let ends = (socket.local_addr(), socket.peer_addr());
    let (Ok(client), Ok(server)) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let ends = (client.as_socket(), server.as_socket());
    let (Some(SocketAddr::V4(client)), Some(SocketAddr::V4(server))) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    match fastrand::u8(0..8) {
        0 => b"PROXY UNKNOWN\r\n".to_vec(),
        1 => [VERSION_2, &[0x20, 0, 0, 0]].concat(),
        2..5 => {
            let [client_port, server_port] = [client.port(), server.port()];
            let (client, server) = (client.ip(), server.ip());
            format!("PROXY TCP4 {client} {server} {client_port} {server_port}\r\n").into_bytes()
        }
        _ => [
            VERSION_2,
            &[0x21, 0x11, 0, 12],
            &client.ip().octets(),
            &server.ip().octets(),
            &client.port().to_be_bytes(),
            &server.port().to_be_bytes(),
        ]
        .concat(),
    }
}

/// With what a header of version 2 begins.
pub const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
