//! Each of Python's twelve servers, and the four with a pool, serves three clients and is closed.

use std::process::Command;

use socketserver::{
    BaseServer, ForkingTcpServer, ForkingUdpServer, ForkingUnixDatagramServer,
    ForkingUnixStreamServer, ReactorTcpServer, ReactorUnixStreamServer, Server, TcpServer,
    ThreadPoolTcpServer, ThreadPoolUdpServer, ThreadPoolUnixDatagramServer,
    ThreadPoolUnixStreamServer, ThreadingTcpServer, ThreadingUdpServer,
    ThreadingUnixDatagramServer, ThreadingUnixStreamServer, UdpServer, UnixDatagramServer,
    UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::processes::children;
use support::running_server::RunningServer;
use support::services::EchoLine;
use tempfile::TempDir;

const LOOPBACK: &str = "127.0.0.1:0";

fn directory() -> TempDir {
    support::short_paths::directory()
}

fn serves_three_stream_clients<S: BaseServer>(server: Server<S>) {
    let running = RunningServer::start(server);
    for _ in 0..3 {
        let mut client = StreamClient::connect(&running.address());
        client.send("hello world\n");
        assert_eq!(client.rest(), b"hello world\n");
    }
    assert_eq!(running.close().running, 0);
}

fn serves_three_datagram_clients<S: BaseServer>(server: Server<S>) {
    let running = RunningServer::start(server);
    for _ in 0..3 {
        let client = DatagramClient::connect(&running.address());
        client.send(b"hello world\n");
        assert_eq!(client.receive(), b"hello world\n");
    }
    assert_eq!(running.close().running, 0);
}

/// Runs a forking server's test beside a child of the program's own: that one is not waited for,
/// and all others have been when the server is closed.
fn beside_a_child_of_ours(test: impl FnOnce()) {
    let mut ours = Command::new("sh").args(["-c", "exit 72"]).spawn().unwrap();
    test();
    assert_eq!(children(), [ours.id().cast_signed()]);
    assert_eq!(ours.wait().unwrap().code(), Some(72));
}

#[test]
fn tcp() {
    alone(|| serves_three_stream_clients(TcpServer::bind(LOOPBACK, EchoLine::default).unwrap()));
}

#[test]
fn threading_tcp() {
    alone(|| {
        serves_three_stream_clients(ThreadingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap())
    });
}

#[test]
fn forking_tcp() {
    alone(|| {
        beside_a_child_of_ours(|| {
            serves_three_stream_clients(
                ForkingTcpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            );
        });
    });
}

#[test]
fn thread_pool_tcp() {
    alone(|| {
        serves_three_stream_clients(ThreadPoolTcpServer::bind(LOOPBACK, EchoLine::default).unwrap())
    });
}

#[test]
fn reactor_tcp() {
    alone(|| {
        serves_three_stream_clients(ReactorTcpServer::bind(LOOPBACK, EchoLine::default).unwrap())
    });
}

#[test]
fn reactor_unix_stream() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = ReactorUnixStreamServer::bind(path, EchoLine::default);
        serves_three_stream_clients(server.unwrap());
    });
}

#[test]
fn unix_stream() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = UnixStreamServer::bind(path, EchoLine::default);
        serves_three_stream_clients(server.unwrap());
    });
}

#[test]
fn threading_unix_stream() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixStreamServer::bind(path, EchoLine::default);
        serves_three_stream_clients(server.unwrap());
    });
}

#[test]
fn forking_unix_stream() {
    alone(|| {
        beside_a_child_of_ours(|| {
            let directory = directory();
            let path = directory.path().join("socket");
            let server = ForkingUnixStreamServer::bind(path, EchoLine::default);
            serves_three_stream_clients(server.unwrap());
        });
    });
}

#[test]
fn thread_pool_unix_stream() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = ThreadPoolUnixStreamServer::bind(path, EchoLine::default);
        serves_three_stream_clients(server.unwrap());
    });
}

#[test]
fn udp() {
    alone(|| serves_three_datagram_clients(UdpServer::bind(LOOPBACK, EchoLine::default).unwrap()));
}

#[test]
fn threading_udp() {
    alone(|| {
        serves_three_datagram_clients(
            ThreadingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
        )
    });
}

#[test]
fn forking_udp() {
    alone(|| {
        beside_a_child_of_ours(|| {
            serves_three_datagram_clients(
                ForkingUdpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
            );
        });
    });
}

#[test]
fn thread_pool_udp() {
    alone(|| {
        serves_three_datagram_clients(
            ThreadPoolUdpServer::bind(LOOPBACK, EchoLine::default).unwrap(),
        )
    });
}

#[test]
fn unix_datagram() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = UnixDatagramServer::bind(path, EchoLine::default);
        serves_three_datagram_clients(server.unwrap());
    });
}

#[test]
fn threading_unix_datagram() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = ThreadingUnixDatagramServer::bind(path, EchoLine::default);
        serves_three_datagram_clients(server.unwrap());
    });
}

#[test]
fn forking_unix_datagram() {
    alone(|| {
        beside_a_child_of_ours(|| {
            let directory = directory();
            let path = directory.path().join("socket");
            let server = ForkingUnixDatagramServer::bind(path, EchoLine::default);
            serves_three_datagram_clients(server.unwrap());
        });
    });
}

#[test]
fn thread_pool_unix_datagram() {
    alone(|| {
        let directory = directory();
        let path = directory.path().join("socket");
        let server = ThreadPoolUnixDatagramServer::bind(path, EchoLine::default);
        serves_three_datagram_clients(server.unwrap());
    });
}
