//! Relays in forked children, and for curl through a SOCKS5 proxy.

use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use socketserver::{
    BaseServer, ForkingTcpServer, HandlerResult, ReactorTcpServer, RequestHandler, Server,
    StreamRequest, ThreadPoolTcpServer, ThreadingTcpServer,
};
use support::clients::StreamClient;
use support::own_process::alone;
use support::running_server::{RunningServer, close};
use support::services::stream_handler;

#[test]
fn a_child_relays_and_a_drain_ends_its_idle_relay_before_the_drain_timeout() {
    alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        let factory = stream_handler(move |request: &mut StreamRequest| {
            request.relay(&mut TcpStream::connect(target)?)?;
            Ok(())
        });
        let server = ForkingTcpServer::bind("127.0.0.1:0", factory).unwrap();
        let running = RunningServer::start(server);
        let mut client = StreamClient::connect(&running.address());
        let mut outside = listener.accept().unwrap().0;
        client.send("question");
        let mut question = [0; 8];
        outside.read_exact(&mut question).unwrap();
        outside.write_all(&question).unwrap();
        assert_eq!(client.receive_exactly(8), b"question");
        let handle = running.handle();
        let report = close(running.stop());
        assert_eq!((report.aborted, report.running), (0, 0));
        assert_eq!(client.rest(), b"");
        let statistics = handle.statistics();
        assert_eq!((statistics.finished, statistics.failed), (1, 0));
        assert_eq!((statistics.received, statistics.sent), (8, 8));
    });
}

/// A SOCKS5 proxy (RFC 1928) without authentication, for `CONNECT` to IPv4 addresses.
struct Socks5;

impl RequestHandler for Socks5 {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let [_version, methods] = read(request)?;
        request.next_exact(methods.into())?;
        request.write_all(&[5, 0])?;
        let [_version, command, _, kind] = read(request)?;
        if (command, kind) != (1, 1) {
            request.write_all(&[5, 7, 0, 1, 0, 0, 0, 0, 0, 0])?;
            return Ok(());
        }
        let [a, b, c, d, high, low] = read(request)?;
        let port = u16::from_be_bytes([high, low]);
        let mut target = TcpStream::connect((Ipv4Addr::new(a, b, c, d), port))?;
        request.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        request.relay(&mut target)?;
        Ok(())
    }
}

fn read<const N: usize>(request: &mut StreamRequest) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    request.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Answers each connection with the bytes of its request's head, in the manner of HTTP.
fn web_server() -> RunningServer<impl BaseServer> {
    let factory = stream_handler(|request: &mut StreamRequest| {
        let mut line = String::new();
        while request.read_line(&mut line)? > 2 {
            line.clear();
        }
        let body = "x".repeat(1_000_000);
        write!(
            request,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        Ok(())
    });
    RunningServer::start(ThreadingTcpServer::bind("127.0.0.1:0", factory).unwrap())
}

#[test]
fn curl_is_served_through_a_socks5_proxy_under_every_mix_in() {
    alone(|| {
        if Command::new("curl").arg("--version").output().is_err() {
            eprintln!("skipped: curl is not installed");
            return;
        }
        let new = || Socks5;
        let address = "127.0.0.1:0";
        serves_curl(ForkingTcpServer::bind(address, new).unwrap());
        serves_curl(ThreadingTcpServer::bind(address, new).unwrap());
        serves_curl(ThreadPoolTcpServer::bind(address, new).unwrap());
        serves_curl(ReactorTcpServer::bind(address, new).unwrap());
        let alone = socketserver::TcpServer::bind(address, new).unwrap();
        serves_curl(alone);
    });
}

fn serves_curl(proxy: Server<impl BaseServer>) {
    let web = web_server();
    let proxy = RunningServer::start(proxy);
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "",
        ])
        .args(["--socks5", &proxy.address().to_string()])
        .arg(format!("http://{}/", web.address()))
        .output()
        .unwrap();
    let failure = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{failure}");
    assert_eq!(output.stdout.len(), 1_000_000);
    let handle = proxy.handle();
    proxy.close();
    web.close();
    let statistics = handle.statistics();
    assert_eq!((statistics.finished, statistics.failed), (1, 0));
    // The greeting's two replies and the head are in front of the body.
    assert!(statistics.sent > 1_000_000);
}

#[test]
fn a_client_may_send_its_first_data_behind_its_socks5_request_and_end_its_side() {
    alone(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = ThreadingTcpServer::bind("127.0.0.1:0", || Socks5).unwrap();
        let running = RunningServer::start(proxy);
        let mut client = StreamClient::connect(&running.address());
        let [high, low] = port.to_be_bytes();
        let message = [5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low, b'h', b'i'];
        client.socket().write_all(&message).unwrap();
        client.finish_sending();
        let mut outside = listener.accept().unwrap().0;
        let mut text = String::new();
        outside.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        outside.write_all(b"trailer").unwrap();
        drop(outside);
        let replies = client.rest();
        assert_eq!(replies.len(), 2 + 10 + 7);
        assert!(replies.ends_with(b"trailer"));
        let handle = running.handle();
        running.close();
        let statistics = handle.statistics();
        assert_eq!((statistics.received, statistics.sent), (15, 19));
    });
}
