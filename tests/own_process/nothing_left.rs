//! After 10,000 short connections a program has what it had before them.
//!
//! The test counts what the whole process has. Of the connections 1,000 are over a
//! forking server, where each costs a process, and the rest over the mix-ins with threads.

use socketserver::{
    Address, BaseServer, ForkingTcpServer, Metrics, MetricsMixIn, ProxyProtocolMixIn, ReactorMixIn,
    ReactorTcpServer, Serve, Server, StreamRequest, TcpServer, ThreadPoolTcpServer, ThreadingMixIn,
    ThreadingTcpServer, ThreadingUnixStreamServer, TlsMixIn, TlsOptions,
};
use support::certificates::Authority;
use support::clients::StreamClient;
use support::own_process::alone;
use support::processes::{children, descriptors, threads};
use support::proxies::{LINE, LOCAL};
use support::running_server::RunningServer;
use support::services::{EchoLine, stream_handler};
use support::tls_clients::TlsClients;
use support::waiting::eventually;

const LOOPBACK: &str = "127.0.0.1:0";
const CLIENTS: usize = 8;

/// Whether connections can be reset: where a child has a copy of the client's descriptor as well, a
/// close is none.
const THREADS: bool = true;
const FORKING: bool = false;

/// Makes the connections, several at a time, of which some end in other ways than they should.
fn connect_and_leave<S: BaseServer>(server: Server<S>, connections: usize, resets: bool) {
    visit_many(server, connections, |address, number| {
        let mut client = StreamClient::connect(address);
        match number % 20 {
            0 => {}
            1 => client.send("unfinished"),
            2 if resets => client.reset(),
            _ => {
                client.send("hello\n");
                assert_eq!(client.rest(), b"hello\n");
            }
        }
    });
}

/// Calls `visit` with each number, several at a time, and closes the server.
fn visit_many<S: BaseServer>(
    server: Server<S>,
    connections: usize,
    visit: impl Fn(&Address, usize) + Sync,
) {
    let running = RunningServer::start(server);
    let (address, visit) = (&running.address(), &visit);
    std::thread::scope(|scope| {
        for first in 0..CLIENTS {
            scope.spawn(move || {
                let numbers = (first..connections).step_by(CLIENTS);
                numbers.for_each(|number| visit(address, number));
            });
        }
    });
    let report = running.close();
    assert_eq!((report.aborted, report.running), (0, 0), "{report}");
}

/// Visits a layer 5,000 times with threads and 5,000 times with a reactor. Then the process has
/// what it had before.
fn nothing_is_left_of<L: BaseServer<Request = StreamRequest>>(
    layers: impl Fn() -> L,
    visit: impl Fn(&Address, usize) + Sync,
) {
    let threads_before = threads();
    let descriptors_before = descriptors();
    let threading = layers().mix_in(ThreadingMixIn::new).bind().unwrap();
    visit_many(threading, 5_000, &visit);
    let reactor = layers().mix_in(ReactorMixIn::new).bind().unwrap();
    visit_many(reactor, 5_000, &visit);
    assert_eq!(descriptors(), descriptors_before);
    eventually("all threads have ended", || threads() == threads_before);
}

#[test]
fn nothing_is_left_after_ten_thousand_connections_with_a_proxy_header() {
    alone(|| {
        let layers = || {
            let bottom = TcpServer::new(LOOPBACK, EchoLine::default);
            let trusted = "127.0.0.1".parse().unwrap();
            bottom.mix_in(|next| ProxyProtocolMixIn::new(next).trust(trusted))
        };
        nothing_is_left_of(layers, |address, number| {
            let mut client = StreamClient::connect(address);
            match number % 20 {
                0 => {}
                1 => client.send(&LINE[..10]),
                2 => client.reset(),
                3 => client.send("no header\n"),
                4 => client.send(LINE),
                5 => assert_eq!(client.socket().send(LOCAL).unwrap(), LOCAL.len()),
                _ => {
                    client.send(&format!("{LINE}hello\n"));
                    assert_eq!(client.rest(), b"hello\n");
                }
            }
        });
    });
}

#[test]
fn nothing_is_left_after_ten_thousand_connections_with_tls() {
    alone(|| {
        let authority = Authority::new();
        let identity = authority.server(&["localhost"]);
        let config = TlsOptions::new(&identity.certificate, &identity.key);
        let config = config.load().unwrap();
        let clients = TlsClients::new(&authority);
        let layers = || {
            let bottom = TcpServer::new(LOOPBACK, EchoLine::default);
            bottom.mix_in(|next| TlsMixIn::new(next, config.clone()))
        };
        nothing_is_left_of(layers, |address, number| match number % 20 {
            0 => drop(StreamClient::connect(address)),
            1 => StreamClient::connect(address).send("\u{16}"),
            2 => StreamClient::connect(address).reset(),
            3 => StreamClient::connect(address).send("no handshake\n"),
            // Neither a message nor close_notify.
            4 => drop(clients.connect(address)),
            5 => clients.connect(address).send("unfinished"),
            _ => {
                let mut client = clients.connect(address);
                client.send("hello\n");
                assert_eq!(client.rest().unwrap(), b"hello\n");
            }
        });
    });
}

#[test]
fn nothing_is_left_after_ten_thousand_connections_that_are_measured() {
    alone(|| {
        let metrics = Metrics::new();
        let layers = || {
            let bottom = TcpServer::new(LOOPBACK, EchoLine::default);
            bottom.mix_in(|next| MetricsMixIn::new(next, &metrics))
        };
        nothing_is_left_of(layers, |address, number| {
            let mut client = StreamClient::connect(address);
            match number % 20 {
                0 => {}
                1 => client.reset(),
                _ => {
                    client.send("hello\n");
                    assert_eq!(client.rest(), b"hello\n");
                }
            }
        });
    });
}

#[test]
fn nothing_is_left_after_ten_thousand_short_connections() {
    alone(|| {
        // Before any was started: one that has been joined is still listed for a moment.
        let threads_before = threads();
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        // The first server registers the signal of a child's end, which stays for the next one.
        connect_and_leave(
            ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            1,
            FORKING,
        );
        let descriptors_before = descriptors();

        connect_and_leave(
            ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            1_000,
            FORKING,
        );
        assert_eq!(children(), [0; 0]);
        connect_and_leave(
            ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            4_000,
            THREADS,
        );
        connect_and_leave(
            ThreadPoolTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            4_000,
            THREADS,
        );
        connect_and_leave(
            ReactorTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            4_000,
            THREADS,
        );
        connect_and_leave(
            ThreadingUnixStreamServer::bind(path, EchoLine::default).unwrap(),
            1_000,
            THREADS,
        );

        assert_eq!(descriptors(), descriptors_before);
        eventually("all threads have ended", || threads() == threads_before);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    });
}

#[test]
fn a_server_whose_connections_have_lingered_keeps_no_descriptor() {
    alone(|| {
        // The connection of a handler that fails lingers.
        let factory = stream_handler(|_| Err("fails".into()));
        let running = RunningServer::start(ThreadingTcpServer::bind(LOOPBACK, factory).unwrap());
        let before = descriptors();
        let mut client = StreamClient::connect(&running.address());
        client.send("hello\n");
        assert_eq!(client.rest(), b"");
        drop(client);
        eventually("no descriptor is left", || descriptors() == before);
        assert_eq!(running.close().running, 0);
    });
}
