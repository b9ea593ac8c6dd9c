//! A Unix socket: the handlers are the same, a path replaces the port, and the permissions of the
//! file decide who may connect.
//!
//! `cargo run --example unix`, then in another terminal
//!
//! ```sh
//! python3 -c '
//! import socket
//! s = socket.socket(socket.AF_UNIX)
//! s.connect("example.sock")
//! print(s.recv(99))'
//! ```

use std::io::Write;

use socketserver::{
    Error, HandlerResult, RequestHandler, StreamRequest, ThreadingUnixStreamServer,
};

struct Welcome;

impl RequestHandler for Welcome {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let server = request.server().server_address();
        writeln!(request, "welcome to {server}")?;
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    env_logger::init();
    // The file is removed when the server is closed; one that a killed server left is replaced.
    ThreadingUnixStreamServer::bind("example.sock", || Welcome)?.serve_forever()
}
