//! A process for each connection: a handler that crashes does not harm the server.
//!
//! `cargo run --example forking`, then in another terminal, twice:
//! `bash -c 'exec 3<>/dev/tcp/127.0.0.1/9999; head -n 1 <&3'`

use std::io::Write;

use socketserver::{
    Error, ForkingMixIn, HandlerResult, RequestHandler, Serve, StreamRequest, TcpServer,
};

/// Sends the id of its process, and then aborts the process, which is worse than a panic.
struct Crash;

impl RequestHandler for Crash {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        writeln!(request, "I am process {}, for a moment", std::process::id())?;
        request.flush()?;
        std::process::abort()
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    // No other thread runs in this program, as a fork requires.
    TcpServer::new("127.0.0.1:9999", || Crash)
        .mix_in(ForkingMixIn::new)
        .max_children(10)
        .bind()?
        .serve_forever()
}
