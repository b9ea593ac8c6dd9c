//! A forward proxy: it passes requests and connections on to any host.
//!
//! `cargo run --example forward_proxy`, then `curl -x http://127.0.0.1:8080 https://example.org/`.
//! CONNECT opens a tunnel. A plain request is forwarded to its host as a request of HTTP/1.0.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socketserver::{BaseServer, Deadlines, Error, ReactorTcpServer, Server, handler_fn};
use socketserver_handlers::http::{
    HeaderMap, Http, HttpHandler, HttpResult, Method, Request, RequestBody, Response, ResponseBody,
    StatusCode, Uri, header,
};

/// How long a connect to a host, each read and each write may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long nothing may move in a tunnel.
const SILENCE: Duration = Duration::from_secs(600);
/// The headers of one connection, to which `Connection` may add others.
const OF_CONNECTION: &str = "connection,expect,host,keep-alive,proxy-authorization,\
    proxy-connection,te,trailer,transfer-encoding,upgrade";

/// The proxy, and its patience with each host.
struct Proxy(Duration);

impl HttpHandler for Proxy {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        remove_headers_of_connection(request.headers_mut());
        let mut body = Vec::new();
        if !request.headers().contains_key(header::CONTENT_LENGTH) {
            // HTTP/1.0 has no chunks: the limits bound what is collected here.
            let length = request.body_mut().read_to_end(&mut body)?.into();
            request.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        let uri = request.uri();
        if uri.authority().is_none() || uri.scheme_str() == Some("https") {
            let reason = "This is a proxy: ask for an http URL with a host, or for a tunnel.";
            return Ok(self.error_page(StatusCode::BAD_REQUEST, reason));
        }
        let response = match connect(uri, self.0) {
            Ok(host) if request.method() == Method::CONNECT => {
                Ok(Response::new(ResponseBody::upgrade(handler_fn(
                    move |client| Ok(client.relay(&mut host.try_clone()?).map(drop)?),
                ))))
            }
            Ok(host) => forward(request, &body, host),
            Err(error) => Err(error.into()),
        };
        response.or_else(|error| {
            log::info!("{} {}: {error}", request.method(), request.uri());
            let reason = "The host cannot be reached, or its response is not valid.";
            Ok(self.error_page(StatusCode::BAD_GATEWAY, reason))
        })
    }
}

/// Connects to the first address of a URI's host that answers.
fn connect(uri: &Uri, patience: Duration) -> io::Result<TcpStream> {
    let name = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let addresses = (name, uri.port_u16().unwrap_or(80)).to_socket_addrs()?;
    let mut attempts = addresses.map(|address| TcpStream::connect_timeout(&address, patience));
    let first = attempts.next().ok_or(io::ErrorKind::NotFound)?;
    let host = first.or_else(|error| attempts.find_map(Result::ok).ok_or(error))?;
    host.set_read_timeout(Some(patience))?;
    host.set_write_timeout(Some(patience))?;
    host.set_nodelay(true)?;
    Ok(host)
}

/// Forwards a plain request to its host, with the part of its body that is read already.
fn forward(request: &mut Request<RequestBody<'_>>, body: &[u8], mut host: TcpStream) -> HttpResult {
    let (method, uri) = (request.method(), request.uri());
    let target = uri.path_and_query().map_or("/", |it| it.as_str());
    let name = uri.authority().map_or("", |it| it.as_str());
    let head = format!("{method} {target} HTTP/1.0\r\nHost: {name}\r\nConnection: close\r\n");
    let mut head = head.into_bytes();
    for (name, value) in request.headers() {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    // A host that does not take everything may have answered already.
    host.write_all(&[&head, &b"\r\n"[..], body].concat())
        .and_then(|()| io::copy(request.body_mut(), &mut host).map(drop))
        .unwrap_or_else(|_| drop(host.shutdown(Shutdown::Write)));
    let mut host = BufReader::new(host);
    let mut response = receive_head(&mut host)?;
    while response.status().is_informational() {
        response = receive_head(&mut host)?;
    }
    if response.headers().contains_key(header::TRANSFER_ENCODING) {
        return Err("the host has sent chunks to a client of HTTP/1.0".into());
    }
    remove_headers_of_connection(response.headers_mut());
    let length = response.headers().get(header::CONTENT_LENGTH);
    let length = length.map_or(Ok(u64::MAX), |it| it.to_str().unwrap_or_default().parse())?;
    let mut body = host.take(length);
    *response.body_mut() = ResponseBody::writer(move |out| {
        // Each part is sent at once: the host may pause, as between two events.
        while let count @ 1.. = out.write(body.fill_buf()?)? {
            body.consume(count);
            out.flush()?;
        }
        Ok(())
    });
    Ok(response)
}

/// Receives the head of a host's response.
fn receive_head(host: &mut impl BufRead) -> HttpResult {
    let mut response = Response::builder().status(0);
    for line in host.take(64 * 1024).split(b'\n') {
        let line = line?.trim_ascii_end().to_vec();
        match line.iter().position(|byte| *byte == b':') {
            _ if line.starts_with(b"HTTP/1.") => {
                response = Response::builder().status(line.get(9..12).unwrap_or_default());
            }
            Some(at) => response = response.header(&line[..at], line[at + 1..].trim_ascii()),
            None if !line.is_empty() => return Err("the host has sent an odd header".into()),
            None => return Ok(response.body(ResponseBody::empty())?),
        }
    }
    Err("the host has ended before the end of its headers".into())
}

fn remove_headers_of_connection(headers: &mut HeaderMap) {
    let named = headers.get_all(header::CONNECTION).iter();
    let named = named.filter_map(|value| value.to_str().ok());
    for name in Vec::from_iter(named.chain([OF_CONNECTION]))
        .join(",")
        .split(',')
    {
        headers.remove(name.trim());
    }
}

fn server(address: &str, patience: Duration) -> Result<Server<impl BaseServer + use<>>, Error> {
    let server = ReactorTcpServer::bind(address, move || Http::new(Proxy(patience)))?;
    let deadlines = Deadlines::none().with_idle(SILENCE).with_progress(patience);
    server.handle().set_deadlines(deadlines);
    Ok(server)
}

fn main() -> Result<(), Error> {
    env_logger::init();
    server("127.0.0.1:8080", PATIENCE)?.serve_forever()
}

#[cfg(test)]
#[path = "../tests/examples/forward_proxy.rs"]
mod tests;
