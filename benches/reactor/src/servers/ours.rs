//! Our servers, with their default options, but for the limit of connections: unless set, it leaves
//! a tenth of the descriptors to the handlers.

use std::io::{self, BufRead, Write};

use measuring::announce;
use socketserver::layer::DefaultStack;
use socketserver::{
    Error, ExchangeHandler, HandlerResult, Limits, ReactorTcpServer, Server, StreamRequest,
    ThreadingTcpServer,
};

use super::{ANY_PORT, block_for};

pub fn serve_with_threads() -> io::Result<()> {
    serve(ThreadingTcpServer::bind(ANY_PORT, Upper::default))
}

pub fn serve_with_reactor() -> io::Result<()> {
    serve(ReactorTcpServer::bind(ANY_PORT, Upper::default))
}

/// Keeps its buffer from one line to the next, as the peers do.
#[derive(Default)]
struct Upper {
    line: Vec<u8>,
}

impl ExchangeHandler for Upper {
    fn is_complete(&self, unread: &[u8]) -> bool {
        unread.contains(&b'\n')
    }

    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        self.line.clear();
        request.read_until(b'\n', &mut self.line)?;
        block_for(&self.line);
        self.line.make_ascii_uppercase();
        Ok(request.write_all(&self.line)?)
    }
}

fn serve<S: DefaultStack>(server: Result<Server<S>, Error>) -> io::Result<()> {
    let server = server.map_err(io::Error::other)?;
    let handle = server.handle();
    handle.set_limits(Limits::none());
    let address = server.local_addr().expect("it is bound to an IP address");
    announce(address, move || handle.request_shutdown())?;
    server.serve_forever().map_err(io::Error::other)
}
