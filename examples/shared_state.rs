//! State that handlers share: the factory is a closure that gives each handler the same `Arc`.
//!
//! `cargo run --example shared_state`, then in another terminal
//! `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; printf "set a 1\nget a\n" >&3; head -n 2 <&3'`

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use socketserver::{Error, HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

/// A table of words that all connections see.
struct Table {
    words: Arc<Mutex<HashMap<String, String>>>,
}

impl RequestHandler for Table {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(line) = request.next_line(1000)? {
            let answer = match *line.split_whitespace().collect::<Vec<_>>() {
                ["set", key, value] => {
                    // The lock is held for this statement alone, and never during a wait for the
                    // client.
                    self.words
                        .lock()
                        .unwrap()
                        .insert(key.to_owned(), value.to_owned());
                    "ok".to_owned()
                }
                ["get", key] => match self.words.lock().unwrap().get(key) {
                    Some(value) => value.clone(),
                    None => "not set".to_owned(),
                },
                _ => "usage: set KEY VALUE, or: get KEY".to_owned(),
            };
            writeln!(request, "{answer}")?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let words = Arc::default();
    let make_handler = move || Table {
        words: Arc::clone(&words),
    };
    ThreadingTcpServer::bind("127.0.0.1:9999", make_handler)?.serve_forever()
}
