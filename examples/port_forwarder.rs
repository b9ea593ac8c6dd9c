//! A port forwarder: it connects every client with the address that is the argument of the program.
//!
//! `cargo run --example port_forwarder 127.0.0.1:80`, then `curl http://127.0.0.1:9999/`.

use std::net::TcpStream;

use socketserver::{Error, HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

struct Forward {
    target: String,
}

impl RequestHandler for Forward {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut target = TcpStream::connect(&self.target)?;
        target.set_nodelay(true)?;
        let relayed = request.relay(&mut target)?;
        let client = request.client_address();
        log::info!(
            "{client}: {} bytes there, {} back",
            relayed.from_client,
            relayed.to_client
        );
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    let target = std::env::args().nth(1);
    let target = target.unwrap_or_else(|| "127.0.0.1:80".to_owned());
    let forward = move || Forward {
        target: target.clone(),
    };
    ThreadingTcpServer::bind("127.0.0.1:9999", forward)?.serve_forever()
}
