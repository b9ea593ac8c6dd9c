//! Our servers, each with its default options.

use std::io::{self, Read, Write};

use socketserver::layer::DefaultStack;
use socketserver::{
    DatagramRequest, ForkingTcpServer, HandlerResult, RequestHandler, Server, StreamRequest,
    ThreadPoolTcpServer, ThreadingTcpServer, UdpServer,
};

use crate::process::{Announce, ServerKind};

/// `ThreadingMixIn` over TCP.
pub static THREADING: ServerKind = ServerKind {
    name: "threading",
    serve: |announce| serve(ThreadingTcpServer::bind(ANY_PORT, echo), announce),
};

/// `ThreadPoolMixIn` over TCP.
pub static THREAD_POOL: ServerKind = ServerKind {
    name: "thread-pool",
    serve: |announce| serve(ThreadPoolTcpServer::bind(ANY_PORT, echo), announce),
};

/// `ForkingMixIn` over TCP.
pub static FORKING: ServerKind = ServerKind {
    name: "forking",
    serve: |announce| serve(ForkingTcpServer::bind(ANY_PORT, echo), announce),
};

/// `UdpServer` without a mix-in.
pub static UDP: ServerKind = ServerKind {
    name: "udp",
    serve: |announce| serve(Server::<UdpServer<_>>::bind(ANY_PORT, echo), announce),
};

const ANY_PORT: &str = "127.0.0.1:0";

/// Sends back what comes.
pub struct Echo;

/// Makes the handlers.
pub fn echo() -> Echo {
    Echo
}

impl RequestHandler for Echo {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut buffer = [0; 1024];
        while request.wait()? {
            let count = request.read(&mut buffer)?;
            request.write_all(&buffer[..count])?;
        }
        Ok(())
    }
}

impl RequestHandler<DatagramRequest> for Echo {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let mut buffer = [0; 1024];
        let count = request.read(&mut buffer)?;
        request.write_all(&buffer[..count])?;
        Ok(())
    }
}

fn serve<S: DefaultStack>(
    server: Result<Server<S>, socketserver::Error>,
    announce: Announce,
) -> io::Result<()> {
    let server = server.map_err(io::Error::other)?;
    announce(server.local_addr().expect("it is bound to an IP address"));
    server.serve_forever().map_err(io::Error::other)
}
