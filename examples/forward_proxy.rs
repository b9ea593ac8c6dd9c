//! A forward proxy: it forwards requests and connections to any host, and does not look at the
//! bytes.
//!
//! `cargo run --example forward_proxy`, then `curl -x http://127.0.0.1:8080 https://example.org/`.
//! CONNECT opens a tunnel. A plain request is forwarded to its host as a request of HTTP/1.0.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use socketserver::{
    BaseServer, Error, HandlerResult, ReactorTcpServer, Server, StreamRequest, handler_fn,
};
use socketserver_handlers::http::{
    Http, HttpHandler, HttpResult, Method, Request, RequestBody, Response, ResponseBody,
    StatusCode, Uri, header,
};

/// How long a connect, and each read of a host's response, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most bytes of the head of a host's response.
const HEAD: u64 = 64 * 1024;

/// The headers that are about one connection, and not about the request or response in it.
const OF_CONNECTION: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

struct Proxy;

impl HttpHandler for Proxy {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        if request.uri().authority().is_none() {
            let reason = "This is a proxy: ask for a URL with a host.";
            return Ok(self.error_page(StatusCode::BAD_REQUEST, reason));
        }
        let host = match connect(request.uri()) {
            Ok(host) => host,
            Err(error) => {
                log::info!("{} {}: {error}", request.method(), request.uri());
                let reason = "The host cannot be reached.";
                return Ok(self.error_page(StatusCode::BAD_GATEWAY, reason));
            }
        };
        match *request.method() {
            Method::CONNECT => Ok(Response::new(tunnel(host))),
            _ => carry(request, host),
        }
    }
}

/// Connects to the first address of a URI's host that answers.
fn connect(uri: &Uri) -> io::Result<TcpStream> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for address in (host, uri.port_u16().unwrap_or(80)).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(connection) => {
                connection.set_read_timeout(Some(PATIENCE))?;
                connection.set_nodelay(true)?;
                return Ok(connection);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Copies bytes in both directions, until both sides have ended.
fn tunnel(host: TcpStream) -> ResponseBody {
    ResponseBody::upgrade(handler_fn(
        move |client: &mut StreamRequest| -> HandlerResult {
            client.relay(&mut host.try_clone()?)?;
            Ok(())
        },
    ))
}

/// Forwards a plain request to its host, and the response back.
fn carry(request: &mut Request<RequestBody<'_>>, mut host: TcpStream) -> HttpResult {
    let target = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let mut head = format!(
        "{} {target} HTTP/1.0\r\nConnection: close\r\n",
        request.method()
    );
    let mut body = Vec::new();
    if !request.headers().contains_key(header::CONTENT_LENGTH) {
        // HTTP/1.0 has no chunks: the limits bound what is collected here.
        request.body_mut().read_to_end(&mut body)?;
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in request.headers() {
        if !OF_CONNECTION.contains(&name.as_str()) {
            head.push_str(&format!("{name}: {}\r\n", value.to_str()?));
        }
    }
    host.write_all(format!("{head}\r\n").as_bytes())?;
    host.write_all(&body)?;
    io::copy(request.body_mut(), &mut host)?;

    let mut host = BufReader::new(host);
    let mut response = head_of_response(&mut host)?;
    *response.body_mut() = ResponseBody::writer(move |out| io::copy(&mut host, out).map(drop));
    Ok(response)
}

/// Reads the head of a host's response.
fn head_of_response(host: &mut impl BufRead) -> HttpResult {
    let mut lines = host.take(HEAD).lines();
    let line = lines.next().ok_or("the host has sent nothing")??;
    let status = line
        .split(' ')
        .nth(1)
        .ok_or("the host does not speak HTTP")?;
    let mut response = Response::builder().status(status);
    for line in lines {
        let line = line?;
        if line.is_empty() {
            return Ok(response.body(ResponseBody::empty())?);
        }
        let (name, value) = line
            .split_once(':')
            .ok_or("the host has sent an odd header")?;
        if !OF_CONNECTION.contains(&name.to_ascii_lowercase().as_str()) {
            response = response.header(name, value.trim());
        }
    }
    Err("the host has ended in the middle of its headers".into())
}

fn server(address: &str) -> Result<Server<impl BaseServer + use<>>, Error> {
    ReactorTcpServer::bind(address, || Http::new(Proxy))
}

fn main() -> Result<(), Error> {
    env_logger::init();
    server("127.0.0.1:8080")?.serve_forever()
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::thread;

    use socketserver::ServerHandle;
    use socketserver_handlers::http::respond_fn;

    use super::*;

    fn start(server: Server<impl BaseServer + 'static>) -> (String, ServerHandle) {
        let (address, handle) = (server.server_address().to_string(), server.handle());
        thread::spawn(move || server.serve_forever());
        (address, handle)
    }

    fn ask(address: &str, bytes: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(bytes.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        io::read_to_string(client).unwrap()
    }

    #[test]
    fn plain_requests_and_tunnels_reach_their_host() {
        let host = ReactorTcpServer::bind("127.0.0.1:0", || {
            Http::new(respond_fn(|request| {
                let mut text = format!("{} {} ", request.method(), request.uri());
                request.body_mut().read_to_string(&mut text)?;
                Ok(Response::new(text.into()))
            }))
        });
        let (host, stop_host) = start(host.unwrap());
        let (proxy, stop_proxy) = start(server("127.0.0.1:0").unwrap());

        let head = format!("Host: {host}\r\nConnection: close\r\n");
        let answer = ask(
            &proxy,
            &format!("GET http://{host}/a?b HTTP/1.1\r\n{head}\r\n"),
        );
        assert!(answer.ends_with("\r\n\r\nGET /a?b "), "{answer}");
        let chunked = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        let answer = ask(
            &proxy,
            &format!("PUT http://{host} HTTP/1.1\r\n{head}{chunked}"),
        );
        assert!(answer.ends_with("\r\n\r\nPUT / abc"), "{answer}");
        let tunnel = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = ask(&proxy, &format!("{tunnel}GET /t HTTP/1.0\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nGET /t "), "{answer}");
        stop_host.shutdown();
        let answer = ask(&proxy, &format!("GET / HTTP/1.1\r\n{head}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        stop_proxy.shutdown();
    }
}
