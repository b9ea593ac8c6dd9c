//! A small broadcast server over WebSocket: all clients receive what one client sends.
//!
//! `cargo run --example websocket`, then open <http://127.0.0.1:8080/> in two windows. A client
//! that is silent costs no thread: the messages of the others are in its outbox.

use std::collections::HashMap;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use socketserver::{
    BaseServer, Error, ExchangeHandler, HandlerResult, Outbox, ReactorTcpServer, Server,
    StreamRequest,
};
use socketserver_handlers::http::{
    Http, HttpHandler, HttpResult, Request, RequestBody, Response, ResponseBody, StatusCode, header,
};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error as WebSocketError, Message};

const PAGE: &str = "<!DOCTYPE html><meta name=viewport content='width=device-width'>\
<form><input autofocus><button>Send</button></form><pre></pre><script>\
const socket = new WebSocket(`ws://${location.host}/`), [form] = document.forms;\
socket.onmessage = event => document.querySelector('pre').append(event.data + '\\n');\
form.onsubmit = event => { event.preventDefault(); socket.send(form[0].value); form.reset() };\
</script>";

/// The clients, which all connections share.
#[derive(Clone, Default)]
struct Room {
    outboxes: Arc<Mutex<HashMap<u64, Outbox>>>,
    next: Arc<AtomicU64>,
}

impl Room {
    fn with<T>(&self, change: impl FnOnce(&mut HashMap<u64, Outbox>) -> T) -> T {
        change(&mut self.outboxes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a message into the outbox of every client. A client whose outbox is full does not read.
    fn broadcast(&self, text: &str) -> Result<(), WebSocketError> {
        let mut bytes = Vec::new();
        let text = text.to_owned().into_bytes();
        Frame::message(text, OpCode::Data(Data::Text), true).format(&mut bytes)?;
        self.with(|outboxes| outboxes.retain(|_, outbox| outbox.send(&bytes).is_ok()));
        Ok(())
    }
}

/// The page, and the handshake.
struct Site {
    room: Room,
}

impl HttpHandler for Site {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
            let page = Response::builder().header(header::CONTENT_TYPE, "text/html");
            return Ok(page.body(PAGE.into())?);
        };
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::UPGRADE, "websocket")
            .header(
                header::SEC_WEBSOCKET_ACCEPT,
                derive_accept_key(key.as_bytes()),
            );
        let limits = WebSocketConfig::default().max_message_size(Some(64 * 1024));
        let member = Member {
            number: self.room.next.fetch_add(1, Ordering::Relaxed),
            room: self.room.clone(),
            protocol: WebSocketContext::new(Role::Server, Some(limits)),
        };
        Ok(response.body(ResponseBody::upgrade(member))?)
    }
}

/// A client after the handshake.
struct Member {
    number: u64,
    room: Room,
    protocol: WebSocketContext,
}

impl ExchangeHandler for Member {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let outbox = request.outbox()?;
        self.room
            .with(|outboxes| outboxes.insert(self.number, outbox));
        Ok(())
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        loop {
            match self.protocol.read(&mut Arrived(request)) {
                Ok(Message::Text(text)) => self.room.broadcast(&text)?,
                Ok(_) => {}
                Err(WebSocketError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(WebSocketError::ConnectionClosed) => {
                    request.close_connection();
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        self.room.with(|outboxes| outboxes.remove(&self.number));
        Ok(())
    }
}

/// The bytes of a client that have arrived. A read that would wait fails instead, and the reactor
/// waits.
struct Arrived<'a>(&'a mut StreamRequest);

impl Read for Arrived<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.buffer().is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = self.0.buffer().read(buffer)?;
        self.0.consume(count);
        Ok(count)
    }
}

impl Write for Arrived<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A server whose clients are all in one room.
fn server(address: &str) -> Result<Server<impl BaseServer + use<>>, Error> {
    let room = Room::default();
    ReactorTcpServer::bind(address, move || Http::new(Site { room: room.clone() }))
}

fn main() -> Result<(), Error> {
    env_logger::init();
    server("127.0.0.1:8080")?.serve_forever()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::thread;

    use super::*;

    #[test]
    fn what_one_client_sends_all_receive() {
        let server = server("127.0.0.1:0").unwrap();
        let (address, handle) = (server.server_address(), server.handle());
        let serving = thread::spawn(move || server.serve_forever());
        let connect = |_| {
            let stream = TcpStream::connect(address.to_string()).unwrap();
            tungstenite::client(format!("ws://{address}/"), stream)
                .unwrap()
                .0
        };
        let mut clients = Vec::from_iter((0..3).map(connect));
        // The first message of each client comes back to itself when the client is in the room.
        for (index, client) in clients.iter_mut().enumerate() {
            let text = format!("client {index}");
            client.send(Message::text(&*text)).unwrap();
            while client.read().unwrap().to_text().unwrap() != text {}
        }
        clients[1].send(Message::text("to all")).unwrap();
        for client in &mut clients {
            while client.read().unwrap().to_text().unwrap() != "to all" {}
        }
        clients[0].close(None).unwrap();
        while clients[0].read().is_ok() {}
        handle.shutdown();
        serving.join().unwrap().unwrap();
    }
}
