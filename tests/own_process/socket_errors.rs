//! An error of the listening socket that is no request: the loop takes the error and does not spin.
//!
//! The processor time is that of the whole process.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::time::ClockId;
use socketserver::{BaseServer, ForkingUdpServer, Server, ThreadingUdpServer, UdpServer};
use socketserver::{Serve, UnixDatagramServer};
use support::clients::{DatagramClient, has_ipv6};
use support::own_process::alone;
use support::running_server::RunningServer;
use support::services::EchoLine;
use support::waiting::eventually;

/// The processor time of this process.
fn processor_time() -> Duration {
    Duration::from(ClockId::CLOCK_PROCESS_CPUTIME_ID.now().unwrap())
}

/// Makes the socket keep the errors that its datagrams cause.
fn keep_errors(server: &Server<impl BaseServer>) {
    setsockopt(server, sockopt::Ipv4RecvErr, &true).unwrap();
    if server.local_addr().unwrap().is_ipv6() {
        setsockopt(server, sockopt::Ipv6RecvErr, &true).unwrap();
    }
}

/// Clients that have left are answered, and the loop is idle afterwards and serves others.
fn is_idle_after_errors(server: Server<impl BaseServer>) {
    keep_errors(&server);
    let running = RunningServer::start(server);
    for _ in 0..20 {
        DatagramClient::connect(&running.address()).send(b"bye");
    }
    let statistics = || running.handle().statistics();
    eventually("the end of the requests", || {
        statistics().accepted == 20 && statistics().active == 0
    });
    let client = DatagramClient::connect(&running.address());
    client.send(b"before");
    assert_eq!(client.receive(), b"before");
    let before = processor_time();
    // A loop that spins would use all of the time.
    std::thread::sleep(Duration::from_millis(300));
    let used = processor_time() - before;
    assert!(used < Duration::from_millis(100), "{used:?} of 300 ms");
    client.send(b"alive");
    assert_eq!(client.receive(), b"alive");
    assert_eq!(statistics().accepted, 22);
    running.close();
}

#[test]
fn a_queue_of_icmp_errors_does_not_make_the_loop_spin() {
    alone(|| {
        is_idle_after_errors(UdpServer::bind("127.0.0.1:0", EchoLine::default).unwrap());
        is_idle_after_errors(UdpServer::bind("0.0.0.0:0", EchoLine::default).unwrap());
        is_idle_after_errors(ThreadingUdpServer::bind("127.0.0.1:0", EchoLine::default).unwrap());
        if has_ipv6() {
            is_idle_after_errors(UdpServer::bind("[::1]:0", EchoLine::default).unwrap());
            is_idle_after_errors(UdpServer::bind("[::]:0", EchoLine::default).unwrap());
        }
    });
}

#[test]
fn the_error_of_a_connected_socket_is_no_request_and_the_client_is_served_when_it_is_back() {
    alone(|| {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = client.local_addr().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        let server_address = socket.local_addr().unwrap();
        client.send_to(b"bye", server_address).unwrap();
        drop(client);
        let server = UdpServer::from_socket(socket, EchoLine::default);
        let running = RunningServer::start(server.bind().unwrap());
        eventually("the end of the request", || {
            running.handle().statistics().finished == 1
        });
        let client = UdpSocket::bind(address).unwrap();
        client
            .set_read_timeout(Some(support::waiting::LIMIT))
            .unwrap();
        client.send_to(b"back", server_address).unwrap();
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 4);
        assert_eq!(running.stop().handle().statistics().accepted, 2);
    });
}

#[test]
fn a_forked_child_replies_from_the_address_that_was_asked() {
    alone(|| {
        let server = ForkingUdpServer::bind("0.0.0.0:0", EchoLine::default).unwrap();
        let running = RunningServer::start(server);
        let port = running.address().port().unwrap();
        for host in [[127, 0, 0, 1], [127, 0, 0, 2]] {
            let client = DatagramClient::connect(&SocketAddr::from((host, port)).into());
            client.send(b"hello");
            assert_eq!(client.receive(), b"hello");
        }
        running.close();
    });
}

#[test]
fn the_error_of_a_unix_socket_costs_no_datagram() {
    alone(|| {
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        let server = UnixDatagramServer::new(path, EchoLine::default);
        let running = RunningServer::start(server.bind().unwrap());
        for _ in 0..20 {
            DatagramClient::connect(&running.address()).send(b"bye");
            let client = DatagramClient::connect(&running.address());
            client.send(b"here");
            assert_eq!(client.receive(), b"here");
        }
        running.close();
    });
}
