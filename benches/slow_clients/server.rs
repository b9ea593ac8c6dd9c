//! The server: one that answers lines.

use std::io::{self, BufRead, Write};

use socketserver::{HandlerResult, RequestHandler, StreamRequest, ThreadingTcpServer};

use crate::process::ServerKind;

/// `ThreadingMixIn` over TCP, with its default options.
pub static THREADING: ServerKind = ServerKind {
    name: "threading",
    serve: |announce| {
        let server = ThreadingTcpServer::bind("127.0.0.1:0", || Lines).map_err(io::Error::other)?;
        announce(server.local_addr().expect("it is bound to an IP address"));
        server.serve_forever().map_err(io::Error::other)
    },
};

/// Sends each line back when it is complete.
struct Lines;

impl RequestHandler for Lines {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut line = Vec::new();
        while request.wait()? {
            line.clear();
            request.read_until(b'\n', &mut line)?;
            request.write_all(&line)?;
        }
        Ok(())
    }
}
