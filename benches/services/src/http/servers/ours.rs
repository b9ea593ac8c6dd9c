//! Our servers, with their default options, but for the limit of connections: unless set, it leaves
//! a tenth of the descriptors to the handlers.

use std::io;

use measuring::{ServerProcess, announce, free_port, socketserver_command};
use socketserver::{Limits, ReactorTcpServer};
use socketserver_handlers::http::{
    HeaderValue, Http, HttpHandler, HttpResult, Request, RequestBody, Response, header,
};

use super::ANY_PORT;
use crate::site::{Site, TEXT};

struct Hello;

impl HttpHandler for Hello {
    fn respond(&mut self, _: &mut Request<RequestBody<'_>>) -> HttpResult {
        let mut response = Response::new(TEXT.into());
        let plain = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
        Ok(response)
    }
}

pub fn serve() -> io::Result<()> {
    let server = ReactorTcpServer::bind(ANY_PORT, || Http::new(Hello)).map_err(io::Error::other)?;
    let handle = server.handle();
    handle.set_limits(Limits::none());
    let address = server.local_addr().expect("it is bound to an IP address");
    announce(address, move || handle.request_shutdown())?;
    server.serve_forever().map_err(io::Error::other)
}

/// Runs `socketserver serve http`, without a log of the requests: nginx keeps none either.
pub fn start_command(site: &Site) -> io::Result<ServerProcess> {
    let address = free_port()?;
    let mut command = socketserver_command()?;
    command.args(["serve", "http", "--listen", &format!("tcp://{address}")]);
    command.arg("--root").arg(site.root());
    ServerProcess::start_at(&mut command, address)
}
