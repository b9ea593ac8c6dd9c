//! Serves a bounded number of clients, and waits for no client for ever.
//!
//! `cargo run --example limits`, then connect with `nc 127.0.0.1 9999` and type nothing, type a
//! part of a line and Ctrl-D, or connect from three terminals.

use std::io::Write;
use std::time::Duration;

use socketserver::{
    Deadlines, Error, HandlerResult, Limits, RequestHandler, StreamRequest, ThreadingTcpServer,
};

/// Sends each line back.
struct Lines;

impl RequestHandler for Lines {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        while let Some(line) = request.next_line(1000)? {
            writeln!(request, "{line}")?;
        }
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init_from_env(env_logger::Env::default().default_filter_or("info"));
    let server = ThreadingTcpServer::bind("127.0.0.1:9999", || Lines)?;
    let limits = Limits::none()
        .with_max_connections(1000)
        .with_max_connections_per_address(2)
        .refuse_with("too many of you, try again later\n");
    server.handle().set_limits(limits);
    let deadlines = Deadlines::none()
        .with_first_byte(Duration::from_secs(5))
        .with_idle(Duration::from_secs(60))
        .with_read(Duration::from_secs(10))
        .with_write(Duration::from_secs(10))
        .with_lifetime(Duration::from_secs(3600));
    server.handle().set_deadlines(deadlines);
    println!("listening on {}", server.server_address());
    server.serve_forever()
}
