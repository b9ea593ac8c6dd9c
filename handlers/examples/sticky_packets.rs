//! Sticky packets: a TCP connection carries bytes, not messages.
//!
//! `cargo run -p socketserver-handlers --example sticky_packets`
//!
//! A client sends `hi` and `meinv`, each with a call of its own, and a server reads twice ten
//! bytes. If both messages have arrived before the first read, the first read returns both, and the
//! second read the end. If the client waits until the first message has been read, the messages
//! come apart. With a length before each message they always come apart.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use socketserver::{HandlerResult, RequestHandler, Serve, Server, StreamRequest, TcpServer};
use socketserver_handlers::framing::LengthPrefix;

type Messages = Vec<Vec<u8>>;

const PREFIX: LengthPrefix = LengthPrefix::little_endian();

/// Reads two messages in one of two ways, and sends each through the channel when it was read.
struct ReadTwice<F> {
    read: F,
    messages: std::sync::mpsc::Sender<Vec<u8>>,
}

impl<F> RequestHandler for ReadTwice<F>
where
    F: Fn(&mut StreamRequest) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> + Send,
{
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        // The handler reads as Python's `recv` does, without a read ahead.
        request.set_rbufsize(1);
        for _ in 0..2 {
            self.messages.send((self.read)(request)?)?;
        }
        Ok(())
    }
}

/// Reads once, at most ten bytes.
fn ten_bytes(
    request: &mut StreamRequest,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut buffer = [0; 10];
    let count = request.read(&mut buffer)?;
    Ok(buffer[..count].to_vec())
}

/// Reads the message behind one length.
fn frame(request: &mut StreamRequest) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    Ok(PREFIX.read_frame(request)?.unwrap_or_default())
}

/// How the client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// Both messages at once, each with a call of its own, before the server reads.
    AtOnce,
    /// The second message after the first was read.
    Apart,
    /// Both messages at once, each behind its length.
    Framed,
}

fn send(client: &mut TcpStream, message: &[u8], how: Client) -> io::Result<()> {
    match how {
        Client::AtOnce | Client::Apart => client.write_all(message),
        Client::Framed => PREFIX.write_frame(client, message).map_err(Into::into),
    }
}

/// The messages that the server reads.
fn received(how: Client) -> Result<Messages, Box<dyn std::error::Error>> {
    let (sender, messages) = std::sync::mpsc::channel();
    let read = if how == Client::Framed {
        frame
    } else {
        ten_bytes
    };
    let factory = move || ReadTwice {
        read,
        messages: sender.clone(),
    };
    let server: Server<_> = TcpServer::new("127.0.0.1:0", factory).bind()?;
    let mut client = TcpStream::connect(server.local_addr().ok_or("there is an address")?)?;
    client.set_nodelay(true)?;
    send(&mut client, b"hi", how)?;
    let mut first = Vec::new();
    let serving = if how == Client::Apart {
        let serving = std::thread::spawn(move || server.handle_request());
        first.push(messages.recv()?);
        send(&mut client, b"meinv", how)?;
        client.shutdown(Shutdown::Write)?;
        serving
    } else {
        send(&mut client, b"meinv", how)?;
        client.shutdown(Shutdown::Write)?;
        std::thread::spawn(move || server.handle_request())
    };
    serving.join().map_err(|_| "the server panicked")??;
    Ok(first.into_iter().chain(messages.try_iter()).collect())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for how in [Client::AtOnce, Client::Apart, Client::Framed] {
        let texts = received(how)?;
        let texts = texts.iter().map(|it| it.escape_ascii().to_string());
        println!("{how:?}: {:?}", Vec::from_iter(texts));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_small_sends_stick_together() {
        assert_eq!(received(Client::AtOnce).unwrap(), [&b"himeinv"[..], b""]);
    }

    #[test]
    fn with_a_pause_between_them_they_come_apart() {
        assert_eq!(received(Client::Apart).unwrap(), [&b"hi"[..], b"meinv"]);
    }

    #[test]
    fn behind_a_length_each_they_come_apart_always() {
        assert_eq!(received(Client::Framed).unwrap(), [&b"hi"[..], b"meinv"]);
    }
}
