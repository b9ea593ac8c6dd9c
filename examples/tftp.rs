//! Files over TFTP: each transfer has a socket and a thread of its own, and sends lost packets
//! again.
//!
//! `cargo run --example tftp docs`, then `curl tftp://127.0.0.1:6969/SUMMARY.md`

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use socketserver::{
    Address, DatagramRequest, Error, HandlerResult, Limits, RequestHandler, ThreadingUdpServer,
};

/// The most bytes of a file in one packet. A packet with fewer is the last.
const BLOCK: usize = 512;

/// How often a packet is sent before the transfer ends without success.
const ATTEMPTS: u32 = 5;

/// Sends the files of one directory, and receives none.
#[derive(Clone)]
struct Tftp {
    directory: PathBuf,
    /// How long the server waits for an acknowledgement.
    patience: Duration,
}

impl RequestHandler<DatagramRequest> for Tftp {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let opened = match request.packet() {
            [0, 1, rest @ ..] => self.open(rest),
            [0, 2, ..] => Err(io::Error::other("this server only sends files")),
            // No answer: two programs that answer everything would answer each other for ever.
            _ => return Err("not a request of TFTP".into()),
        };
        match opened {
            Ok(file) => Ok(self.send_file(file, request)?),
            Err(error) => Ok(write!(request, "\0\x05\0\0{error}\0")?),
        }
    }
}

impl Tftp {
    /// Opens the file of a read request, which has the name and the mode, each with a zero.
    fn open(&self, request: &[u8]) -> io::Result<File> {
        let name = request.split(|byte| *byte == 0).next();
        let name = Path::new(str::from_utf8(name.unwrap_or_default()).map_err(io::Error::other)?);
        let is_below = |part| matches!(part, Component::Normal(_));
        if !name.components().all(is_below) {
            return Err(io::Error::other("the name leads out of the directory"));
        }
        let path = self.directory.join(name);
        // The kind of file is checked first: the open of a pipe would wait for a writer.
        if !path.metadata()?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        File::open(path)
    }

    fn send_file(&self, mut file: File, request: &DatagramRequest) -> io::Result<()> {
        let client = request.client_address();
        let (Some(Address::Inet(mut here)), Address::Inet(client)) =
            (request.local_address(), client)
        else {
            return Err(io::Error::other("the client has asked no address"));
        };
        // The transfer has a port of its own. A connected socket receives datagrams of its client
        // alone.
        here.set_port(0);
        let socket = UdpSocket::bind(here)?;
        socket.connect(client)?;
        let mut number = 1_u16;
        loop {
            let mut packet = vec![0, 3];
            packet.extend(number.to_be_bytes());
            Read::by_ref(&mut file)
                .take(BLOCK as u64)
                .read_to_end(&mut packet)?;
            self.send_packet(&socket, &packet)?;
            if packet.len() < 4 + BLOCK {
                return Ok(());
            }
            number = number.wrapping_add(1);
        }
    }

    /// Sends a packet until the client has acknowledged its number.
    fn send_packet(&self, socket: &UdpSocket, packet: &[u8]) -> io::Result<()> {
        let mut answer = [0; 128];
        for _ in 0..ATTEMPTS {
            socket.send(packet)?;
            let end = Instant::now() + self.patience;
            // An acknowledgement of an earlier packet sends nothing: it may itself be a repetition.
            while let Some(rest) = end.checked_duration_since(Instant::now())
                && !rest.is_zero()
            {
                socket.set_read_timeout(Some(rest))?;
                match socket.recv(&mut answer).map(|length| &answer[..length]) {
                    Ok([0, 4, number @ ..]) if *number == packet[2..4] => return Ok(()),
                    Ok([0, 5, ..]) => return Err(io::Error::other("the client has ended it")),
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let tftp = Tftp {
        directory: std::env::args_os().nth(1).map_or(".".into(), PathBuf::from),
        patience: Duration::from_secs(1),
    };
    let server = ThreadingUdpServer::bind("127.0.0.1:6969", move || tftp.clone())?;
    // Each transfer is a request until its end: a thread, a socket and an open file.
    let limits = Limits::none()
        .with_max_connections(100)
        .with_max_connections_per_address(10);
    server.handle().set_limits(limits);
    server.serve_forever()
}

#[cfg(test)]
#[path = "../tests/examples/tftp.rs"]
mod tests;
