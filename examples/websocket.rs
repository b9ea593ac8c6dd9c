//! A small broadcast server over WebSocket: all clients receive what one client sends.
//!
//! `cargo run --example websocket`, then open <http://127.0.0.1:8080/> in two windows. A client
//! that is silent costs no thread: the messages of the others are in its outbox.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socketserver::{
    Address, BaseServer, Deadlines, Error, ExchangeHandler, HandlerResult, Outbox, OutboxError,
    ReactorTcpServer, Server, StreamRequest,
};
use socketserver_handlers::http::{
    Http, HttpHandler, HttpResult, Request, RequestBody, Response, ResponseBody, StatusCode, header,
};
use tungstenite::Error::{Capacity, Io, Protocol, Utf8};
use tungstenite::Message::{Binary, Close, Text};
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, Utf8Bytes};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};

const PAGE: &str = "<!DOCTYPE html><meta name=viewport content='width=device-width'>\
<form><input autofocus><button>Send</button></form><pre></pre><script>\
const socket = new WebSocket(`ws://${location.host}/`), [form] = document.forms;\
socket.onmessage = event => document.querySelector('pre').append(event.data + '\\n');\
form.onsubmit = event => { event.preventDefault(); socket.send(form[0].value); form.reset() };\
</script>";

/// The outboxes of the clients, which all connections share.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<HashMap<Address, Outbox>>>);

impl Room {
    fn outboxes(&self) -> MutexGuard<'_, HashMap<Address, Outbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message to every client. A client whose outbox is full misses the message.
    fn broadcast(&self, text: Utf8Bytes) -> HandlerResult {
        let mut bytes = Vec::new();
        Frame::message(text, OpCode::Data(Data::Text), true).format(&mut bytes)?;
        let is_open = |outbox: &Outbox| outbox.send(&bytes) != Err(OutboxError::Closed);
        self.outboxes().retain(|_, outbox| is_open(outbox));
        Ok(())
    }
}

/// The page, and the handshake.
impl HttpHandler for Room {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        if !request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
            let page = Response::builder().header(header::CONTENT_TYPE, "text/html");
            return Ok(page.body(PAGE.into())?);
        }
        // The messages of one read have room in an outbox.
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let most = Some(64 * 1024);
        let config = config.max_message_size(most).max_frame_size(most);
        let protocol = WebSocketContext::new(Role::Server, Some(config));
        let room = self.clone();
        create_response_with_body(request, || ResponseBody::upgrade(Member { room, protocol }))
            .or_else(|error| Ok(self.error_page(StatusCode::BAD_REQUEST, &error.to_string())))
    }
}

/// A client after the handshake.
struct Member {
    room: Room,
    protocol: WebSocketContext,
}

impl ExchangeHandler for Member {
    fn setup(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let client = request.client_address().clone();
        self.room.outboxes().insert(client, request.outbox()?);
        Ok(())
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let outbox = request.outbox()?;
        let mut wire = Wire(Some(request), outbox);
        let code = loop {
            match self.protocol.read(&mut wire) {
                Ok(Text(text)) => self.room.broadcast(text)?,
                Ok(Binary(_)) => break CloseCode::Unsupported,
                Ok(Close(_)) => break CloseCode::Normal,
                Ok(_) => {}
                Err(Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(Capacity(_)) => break CloseCode::Size,
                Err(Utf8(_)) => break CloseCode::Invalid,
                Err(Protocol(_)) => break CloseCode::Protocol,
                Err(error) => return Err(error.into()),
            }
        };
        // No message may follow. The answer to a close frame of the client ends with an error.
        self.finish(request)?;
        let (reason, mut wire) = ("".into(), Wire(None, request.outbox()?));
        let frame = CloseFrame { code, reason };
        let _ = self.protocol.close(&mut wire, Some(frame));
        request.close_connection();
        Ok(())
    }

    fn finish(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.room.outboxes().remove(request.client_address());
        Ok(())
    }
}

/// What has arrived from a client, for one read, and the client's outbox, so that all frames keep
/// their order. A further read would wait, and fails: the reactor waits.
struct Wire<'a>(Option<&'a mut StreamRequest>, Outbox);

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.take().ok_or(ErrorKind::WouldBlock)?.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, frames: &[u8]) -> io::Result<usize> {
        self.1.send(frames).map_err(io::Error::other)?;
        Ok(frames.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server of one room. A client that does not read for half a minute is disconnected.
fn server(address: &str) -> Result<Server<impl BaseServer + use<>>, Error> {
    let room = Room::default();
    let server = ReactorTcpServer::bind(address, move || Http::new(room.clone()))?;
    let deadlines = Deadlines::none().with_progress(Duration::from_secs(30));
    server.handle().set_deadlines(deadlines);
    Ok(server)
}

fn main() -> Result<(), Error> {
    env_logger::init();
    server("127.0.0.1:8080")?.serve_forever()
}

#[cfg(test)]
#[path = "../tests/examples/websocket.rs"]
mod tests;
