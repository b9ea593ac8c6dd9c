//! HTTP over every transport, under every mix-in.

use socketserver::{
    Address, AnyMixIn, BaseServer, ForkingMixIn, ReactorMixIn, Serve, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn, UnixStreamServer,
};
use socketserver_handlers::http::Http;
use support::clients::StreamClient;
use support::own_process::alone;
use support::running_server::RunningServer;
use support::short_paths;

use crate::replies::Reply;
use crate::services::{Reflect, all_numbers};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn service() -> Http<Reflect> {
    Http::new(Reflect::default())
}

/// Every mix-in that shares the process, around what `bottom` makes.
fn mix_ins<S: BaseServer>(bottom: impl Fn() -> S) -> Vec<AnyMixIn<S>> {
    vec![
        AnyMixIn::None(bottom()),
        AnyMixIn::Threading(ThreadingMixIn::new(bottom())),
        AnyMixIn::ThreadPool(ThreadPoolMixIn::new(bottom()).workers(2)),
        AnyMixIn::Reactor(ReactorMixIn::new(bottom())),
        AnyMixIn::Forking(ForkingMixIn::new(bottom())),
    ]
}

fn converses(address: &Address) {
    let mut client = StreamClient::connect(address);
    client.send(GET);
    client.send("PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    client.send("bcGET /writer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let replies = Reply::all(&client.rest(), &["GET", "PUT", "GET"]);
    assert_eq!(replies[0].text(), "GET / ");
    assert_eq!(replies[1].text(), "PUT /1 abc");
    assert_eq!(replies[2].body, all_numbers());
}

#[test]
fn a_conversation_is_the_same_under_every_mix_in_over_tcp() {
    alone(|| {
        for stack in mix_ins(|| TcpServer::new("127.0.0.1:0", service)) {
            let server = RunningServer::start(stack.bind().unwrap());
            converses(&server.address());
            server.close();
        }
    });
}

#[test]
fn a_conversation_is_the_same_under_every_mix_in_over_a_unix_socket() {
    alone(|| {
        let directory = short_paths::directory();
        let path = directory.path().join("socket");
        for stack in mix_ins(|| UnixStreamServer::new(&path, service)) {
            let server = RunningServer::start(stack.bind().unwrap());
            converses(&server.address());
            server.close();
        }
    });
}

#[cfg(feature = "tls")]
#[test]
fn a_conversation_is_the_same_over_tls() {
    use socketserver::{TlsMixIn, TlsOptions};
    use support::certificates::Authority;
    use support::tls_clients::TlsClients;

    let authority = Authority::new();
    let identity = authority.server(&["localhost"]);
    let config = TlsOptions::new(&identity.certificate, &identity.key)
        .load()
        .unwrap();
    let bottom = || TlsMixIn::new(TcpServer::new("127.0.0.1:0", service), config.clone());
    let threads = ThreadingMixIn::new(bottom()).bind().unwrap();
    let threads = RunningServer::start(threads);
    let reactor = ReactorMixIn::new(bottom()).bind().unwrap();
    let reactor = RunningServer::start(reactor);
    for address in [threads.address(), reactor.address()] {
        let mut client = TlsClients::new(&authority).connect(&address);
        client.send(&format!(
            "{GET}GET /writer HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ));
        let replies = Reply::all(&client.rest().unwrap(), &["GET", "GET"]);
        assert_eq!(replies[1].body, all_numbers());
    }
    threads.close();
    reactor.close();
}

#[test]
fn a_reactor_holds_no_thread_for_kept_connections_and_incomplete_heads() {
    alone(|| {
        let stack = ReactorMixIn::new(TcpServer::new("127.0.0.1:0", service));
        let server = RunningServer::start(stack.bind().unwrap());
        let begins = |_| {
            let mut client = StreamClient::connect(&server.address());
            client.send(GET);
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"GET / ") {
                bytes.extend(client.receive_exactly(1));
            }
            client.send("GET / HTTP/1.1\r\nHo");
            client
        };
        let clients = Vec::from_iter((0..200).map(begins));
        let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
        assert!(threads < 20, "{threads} threads");
        for mut client in clients {
            client.send("st: a\r\nConnection: close\r\n\r\n");
            assert_eq!(Reply::only(&client.rest()).status, 200);
        }
        server.close();
    });
}

#[test]
fn a_client_that_sends_a_body_without_reading_gets_its_response() {
    let stack = ReactorMixIn::new(TcpServer::new("127.0.0.1:0", service));
    let server = RunningServer::start(stack.bind().unwrap());
    let mut client = StreamClient::connect(&server.address());
    client.send("PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n");
    let reply = Reply::only(&client.rest());
    assert_eq!((reply.text(), reply.closes()), ("unread", true));
    server.close();
}
