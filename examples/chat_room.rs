//! A chat room: every line is sent to every client that is connected, through their outboxes.
//!
//! `cargo run --example chat_room`, then `socketserver client upper-loop tcp://127.0.0.1:9999` or
//! any client of lines in several terminals.

use std::sync::{Arc, Mutex, PoisonError};

use socketserver::{
    Error, HandlerResult, Outbox, RequestHandler, StreamRequest, ThreadingTcpServer,
};

#[derive(Clone, Default)]
struct Room(Arc<Mutex<Vec<Outbox>>>);

impl Room {
    /// Sends a line to everybody. A client that has left, or does not read, leaves the room.
    fn announce(&self, line: &str) {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| member.send(format!("{line}\n").as_bytes()).is_ok());
    }
}

impl RequestHandler for Room {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let name = request.client_address().clone();
        let outbox = request.outbox()?;
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.push(outbox);
        drop(members);
        self.announce(&format!("{name} has come"));
        while let Some(line) = request.next_line(1000)? {
            self.announce(&format!("{name}: {line}"));
        }
        self.announce(&format!("{name} has left"));
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let room = Room::default();
    ThreadingTcpServer::bind("127.0.0.1:9999", move || room.clone())?.serve_forever()
}
