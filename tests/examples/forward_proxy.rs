//! The proxy between clients and hosts that behave badly.

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use socketserver_handlers::http::respond_fn;
use support::clients::StreamClient;
use support::running_server::RunningServer;
use support::waiting::{LIMIT, eventually};

use super::*;

fn proxy(patience: Duration) -> RunningServer<impl BaseServer> {
    RunningServer::start(server("127.0.0.1:0", patience).unwrap())
}

/// Returns the answer of a proxy to these bytes, and to the end of the client's side.
fn ask(proxy: &RunningServer<impl BaseServer>, bytes: &str) -> String {
    let mut client = StreamClient::connect(&proxy.address());
    client.send(bytes);
    client.finish_sending();
    String::from_utf8_lossy(&client.rest()).into_owned()
}

/// Starts a host for one connection, and returns its address.
fn host<T: Send + 'static>(
    serve: impl FnOnce(BufReader<TcpStream>) -> T + Send + 'static,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = thread::spawn(move || {
        let (connection, _) = listener.accept().unwrap();
        connection.set_read_timeout(Some(LIMIT)).unwrap();
        serve(BufReader::new(connection))
    });
    (address, serving)
}

/// Reads the head of a request.
fn read_head(connection: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(connection.read_until(b'\n', &mut head).unwrap(), 0);
    }
    head
}

/// Returns what the proxy makes of a host's response.
fn answer_to(response: &'static str) -> String {
    let proxy = proxy(PATIENCE);
    let (address, serving) = host(move |mut connection| {
        read_head(&mut connection);
        connection.get_mut().write_all(response.as_bytes()).unwrap();
    });
    let request = format!("GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n");
    let answer = ask(&proxy, &format!("{request}Connection: close\r\n\r\n"));
    serving.join().unwrap();
    proxy.close();
    answer
}

/// A client whose tunnel to `address` is open.
fn open_tunnel(proxy: &RunningServer<impl BaseServer>, address: &str) -> StreamClient {
    let mut client = StreamClient::connect(&proxy.address());
    client.send(&format!("CONNECT {address} HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.line(), "HTTP/1.1 200 OK\r");
    while client.line() != "\r" {}
    client
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
    let host_server = RunningServer::start(host.unwrap());
    let host = host_server.address();
    let proxy = proxy(PATIENCE);

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
    let body = "Content-Length: 3\r\nExpect: 100-continue\r\n\r\nabc";
    let answer = ask(
        &proxy,
        &format!("GET http://{host}/ HTTP/1.1\r\n{head}{body}"),
    );
    assert!(answer.ends_with("\r\n\r\nGET / abc"), "{answer}");
    let answer = ask(
        &proxy,
        &format!("HEAD http://{host}/ HTTP/1.1\r\n{head}\r\n"),
    );
    assert!(answer.contains("content-length: 7\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let tunnel = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let answer = ask(&proxy, &format!("{tunnel}GET /t HTTP/1.0\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nGET /t "), "{answer}");
    proxy.close();
    host_server.close();
}

#[test]
fn a_request_that_a_proxy_cannot_forward_is_refused() {
    let proxy = proxy(PATIENCE);
    for target in ["/", "https://127.0.0.1/"] {
        let answer = ask(&proxy, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{target}: {answer}");
    }
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = unused.local_addr().unwrap();
    let head = format!("PUT http://{address}/ HTTP/1.1\r\nHost: a\r\n");
    let answer = ask(
        &proxy,
        &format!("{head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n"),
    );
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    proxy.close();
}

#[test]
fn a_host_that_cannot_be_reached_is_a_bad_gateway() {
    let proxy = proxy(PATIENCE);
    let unused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let closed = unused.to_string();
    for host in [&*closed, "no-such-host.invalid:80", "127.0.0.1:0"] {
        for line in [format!("CONNECT {host}"), format!("GET http://{host}/")] {
            let answer = ask(&proxy, &format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 502 "), "{line}: {answer}");
        }
    }
    proxy.close();
}

#[test]
fn a_proxy_that_is_its_own_host_answers_once() {
    let proxy = proxy(PATIENCE);
    let address = proxy.address();
    let request = format!("GET http://{address}/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = ask(&proxy, &request);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let tunnel = format!("CONNECT {address} HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = ask(&proxy, &format!("{tunnel}{tunnel}{request}"));
    let statuses = answer.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    let statuses = Vec::from_iter(statuses.map(|line| &line[9..12]));
    assert_eq!(statuses, ["200", "200", "400"], "{answer}");
    proxy.close();
}

#[test]
fn a_host_receives_its_own_name_and_no_header_of_the_connection() {
    let proxy = proxy(PATIENCE);
    let (address, serving) = host(|mut connection| {
        let head = read_head(&mut connection);
        let mut body = [0; 3];
        connection.read_exact(&mut body).unwrap();
        let response = b"HTTP/1.0 200 OK\r\nX-Name: caf\xe9\r\n\r\n";
        connection.get_mut().write_all(response).unwrap();
        [&head[..], &body].concat()
    });
    let mut client = StreamClient::connect(&proxy.address());
    let head = format!(
        "PUT http://{address}/ HTTP/1.1\r\nHost: elsewhere\r\nConnection: x-own, Content-Length\r\n\
         X-Own: 1\r\nProxy-Authorization: secret\r\nTE: trailers\r\nContent-Length: 3\r\nX-Name: "
    );
    let client_socket = client.socket().try_clone().unwrap();
    (&client_socket)
        .write_all(&[head.as_bytes(), b"caf\xe9\r\n\r\nabc"].concat())
        .unwrap();
    client.finish_sending();
    let answer = client.rest();
    assert!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        answer.escape_ascii()
    );
    let kept = b"x-name: caf\xe9\r\n";
    assert!(
        answer.windows(kept.len()).any(|part| part == kept),
        "{}",
        answer.escape_ascii()
    );
    let request = serving.join().unwrap().to_ascii_lowercase();
    let request = request.escape_ascii().to_string();
    let host_header = format!(r"\r\nhost: {address}\r\n");
    assert!(request.contains(&host_header), "{request}");
    assert!(request.contains(r"\r\nx-name: caf\xe9\r\n"), "{request}");
    assert!(request.contains(r"\r\ncontent-length: 3\r\n"), "{request}");
    assert!(request.ends_with(r"\r\n\r\nabc"), "{request}");
    for absent in ["elsewhere", "x-own", "secret", "trailers"] {
        assert!(!request.contains(absent), "{absent}: {request}");
    }
    proxy.close();
}

#[test]
fn a_response_that_is_not_valid_is_a_bad_gateway() {
    for response in [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let answer = answer_to(response);
        assert!(
            answer.starts_with("HTTP/1.1 502 "),
            "{response:?}: {answer}"
        );
    }
}

#[test]
fn a_response_ends_where_its_head_announces() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n";
    let answer = answer_to(concat!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\n",
        "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: x\r\nX: y\r\n\r\nhello"
    ));
    assert!(!answer.contains(interim), "{answer}");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhe"), "{answer}");
    assert!(!answer.contains("x: y"), "{answer}");
    let answer = answer_to("HTTP/1.0 200 OK\nServer: old\n\nhello");
    assert!(
        answer.ends_with("\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        "{answer}"
    );
    let answer = answer_to("HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nhello");
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[test]
fn a_part_of_a_response_is_passed_on_before_the_host_sends_more() {
    let proxy = proxy(PATIENCE);
    let (has_arrived, arrival) = channel();
    let (address, serving) = host(move |mut connection| {
        read_head(&mut connection);
        let head = "HTTP/1.0 200 OK\r\n\r\nfirst";
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        arrival.recv_timeout(LIMIT).unwrap();
        connection.get_mut().write_all(b"second").unwrap();
    });
    let mut client = StreamClient::connect(&proxy.address());
    client.send(&format!("GET http://{address}/ HTTP/1.0\r\n\r\n"));
    while client.line() != "\r" {}
    assert_eq!(client.receive_exactly(5), b"first");
    has_arrived.send(()).unwrap();
    assert_eq!(client.rest(), b"second");
    serving.join().unwrap();
    proxy.close();
}

#[test]
fn a_host_may_answer_before_it_has_taken_the_body() {
    let proxy = proxy(PATIENCE);
    let (address, serving) = host(|mut connection| {
        read_head(&mut connection);
        let response = "HTTP/1.0 413 Too Large\r\n\r\n";
        connection.get_mut().write_all(response.as_bytes()).unwrap();
    });
    let mut client = StreamClient::connect(&proxy.address());
    client.send(&format!(
        "PUT http://{address}/ HTTP/1.1\r\nHost: a\r\nContent-Length: 16000000\r\n\r\n"
    ));
    serving.join().unwrap();
    // The proxy may close the connection before it has taken everything.
    let sending = client.socket().try_clone().unwrap();
    let sending = thread::spawn(move || drop((&sending).write_all(&vec![b'a'; 16_000_000])));
    assert!(client.line().starts_with("HTTP/1.1 413 "));
    drop(client);
    sending.join().unwrap();
    proxy.close();
}

#[test]
fn a_host_that_neither_reads_nor_answers_is_a_bad_gateway_after_a_while() {
    let proxy = proxy(Duration::from_millis(50));
    for length in [0, 16_000_000] {
        let (address, serving) = host(|connection| connection);
        let mut client = StreamClient::connect(&proxy.address());
        let head = format!("PUT http://{address}/ HTTP/1.1\r\nHost: a\r\n");
        client.send(&format!("{head}Content-Length: {length}\r\n\r\n"));
        let sending = client.socket().try_clone().unwrap();
        let sending = thread::spawn(move || drop((&sending).write_all(&vec![b'a'; length])));
        assert!(client.line().starts_with("HTTP/1.1 502 "));
        drop(client);
        sending.join().unwrap();
        drop(serving.join().unwrap());
    }
    proxy.close();
}

#[test]
fn a_tunnel_passes_the_end_of_each_side_on() {
    let proxy = proxy(PATIENCE);
    // The client ends its side first.
    let (address, serving) = host(|mut connection| {
        let mut sent = Vec::new();
        connection.read_to_end(&mut sent).unwrap();
        connection.get_mut().write_all(&sent).unwrap();
    });
    let mut client = open_tunnel(&proxy, &address);
    client.send("hello");
    client.finish_sending();
    assert_eq!(client.rest(), b"hello");
    serving.join().unwrap();
    // The host ends its side first.
    let (address, serving) = host(|mut connection| {
        connection.get_mut().write_all(b"hello").unwrap();
        connection.get_ref().shutdown(Shutdown::Write).unwrap();
        io::read_to_string(connection).unwrap()
    });
    let mut client = open_tunnel(&proxy, &address);
    assert_eq!(client.rest(), b"hello");
    client.send("bye");
    client.finish_sending();
    assert_eq!(serving.join().unwrap(), "bye");
    proxy.close();
}

#[test]
fn a_client_that_leaves_ends_its_tunnel_and_its_request() {
    let proxy = proxy(PATIENCE);
    let (address, serving) = host(|mut connection| connection.read_to_end(&mut Vec::new()).is_ok());
    let client = open_tunnel(&proxy, &address);
    client.send("hello");
    client.reset();
    serving.join().unwrap();
    // A client that leaves in the middle of its body.
    let (address, serving) = host(|mut connection| connection.read_to_end(&mut Vec::new()).is_ok());
    let client = StreamClient::connect(&proxy.address());
    let head = format!("PUT http://{address}/ HTTP/1.1\r\nHost: a\r\n");
    client.send(&format!("{head}Content-Length: 9\r\n\r\nhello"));
    drop(client);
    serving.join().unwrap();
    let handle = proxy.handle();
    eventually("no request runs", || handle.active_request_count() == 0);
    proxy.close();
}

#[test]
fn a_tunnel_in_which_nothing_moves_is_ended() {
    let server = server("127.0.0.1:0", PATIENCE).unwrap();
    assert_eq!(server.handle().deadlines().idle(), Some(SILENCE));
    let soon = Deadlines::none().with_idle(Duration::from_secs(1));
    server.handle().set_deadlines(soon);
    let proxy = RunningServer::start(server);
    let (address, serving) = host(|mut connection| connection.read_to_end(&mut Vec::new()).is_ok());
    let mut client = open_tunnel(&proxy, &address);
    client.wait_for_close();
    serving.join().unwrap();
    proxy.close();
}
