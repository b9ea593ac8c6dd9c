//! The peers: what one writes by hand, with the standard library alone, in place of the framework.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use crate::process::{Announce, ServerKind};

/// A thread for each connection.
pub static THREAD_LOOP: ServerKind = ServerKind {
    name: "peer-thread-loop",
    serve: thread_loop,
};

/// One thread for all datagrams.
pub static UDP_LOOP: ServerKind = ServerKind {
    name: "peer-udp-loop",
    serve: udp_loop,
};

fn thread_loop(announce: Announce) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?);
    loop {
        let (connection, _) = listener.accept()?;
        thread::spawn(move || echo(connection));
    }
}

fn echo(mut connection: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let count = connection.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        connection.write_all(&buffer[..count])?;
    }
}

fn udp_loop(announce: Announce) -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(socket.local_addr()?);
    // As long as the packets that our server takes.
    let mut packet = [0; 8192];
    loop {
        let (count, client) = socket.recv_from(&mut packet)?;
        socket.send_to(&packet[..count], client)?;
    }
}
