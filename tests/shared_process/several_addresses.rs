//! A server that listens on several addresses.

use std::io::Write;
use std::net::SocketAddr;

use socketserver::{
    Address, BaseServer, Error, InetAddress, Limits, Serve, Server, TcpServer, ThreadPoolMixIn,
    ThreadingMixIn, ThreadingTcpServer, UdpServer, datagram_handler_fn,
};
use support::clients::{DatagramClient, StreamClient, has_ipv6};
use support::reports::reports;
use support::running_server::RunningServer;
use support::services::{EchoLine, stream_handler};
use support::waiting::eventually;

/// Two addresses of this machine: of both families, if it has both.
fn both() -> [&'static str; 2] {
    match has_ipv6() {
        true => ["127.0.0.1:0", "[::1]:0"],
        false => ["127.0.0.1:0", "127.0.0.2:0"],
    }
}

/// Serves a client on each address, and then again: a busy address must not be the only one.
fn serves_streams(server: Server<impl BaseServer>) {
    let addresses = server.server_addresses();
    assert_eq!(addresses.len(), 2);
    assert_eq!(addresses[0], server.server_address());
    assert_eq!(addresses[0].port(), addresses[1].port());
    let running = RunningServer::start(server);
    for address in addresses.iter().chain(&addresses) {
        let mut client = StreamClient::connect(address);
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
    running.close();
}

#[test]
fn a_tcp_server_accepts_clients_on_each_address_with_every_mix_in() {
    let tcp = || TcpServer::new(both(), EchoLine::default);
    serves_streams(tcp().bind().unwrap());
    serves_streams(tcp().mix_in(ThreadingMixIn::new).bind().unwrap());
    serves_streams(tcp().mix_in(ThreadPoolMixIn::new).bind().unwrap());
    serves_streams(ThreadingTcpServer::bind(both(), EchoLine::default).unwrap());
}

#[test]
fn a_udp_server_receives_on_each_address_and_answers_from_it() {
    let handler = datagram_handler_fn(|request| {
        let (packet, reply) = request.packet_and_reply();
        reply.extend_from_slice(packet);
        Ok(())
    });
    let server = UdpServer::new(both(), handler).bind().unwrap();
    let addresses = server.server_addresses();
    assert_eq!(addresses[0].port(), addresses[1].port());
    let running = RunningServer::start(server);
    for address in addresses.iter().chain(&addresses) {
        // Connected, so that an answer from another address would not arrive.
        let client = DatagramClient::connect(address);
        client.send(b"hello");
        assert_eq!(client.receive(), b"hello");
    }
    running.close();
}

#[test]
fn the_threads_of_a_udp_server_are_named_for_udp_with_several_addresses_too() {
    fn names_its_threads(server: Server<impl BaseServer>, role: &str) {
        let address = server.server_address();
        let running = RunningServer::start(server);
        let client = DatagramClient::connect(&address);
        client.send(b"who");
        let name = format!("udp:{} {role}", address.port().unwrap());
        assert_eq!(client.receive(), name.as_bytes());
        running.close();
    }
    let udp = || {
        let handler = datagram_handler_fn(|request| {
            let name = std::thread::current().name().map(str::to_owned);
            Ok(request.write_all(name.unwrap_or_default().as_bytes())?)
        });
        UdpServer::new(both(), handler)
    };
    names_its_threads(udp().mix_in(ThreadingMixIn::new).bind().unwrap(), "serve");
    names_its_threads(udp().mix_in(ThreadPoolMixIn::new).bind().unwrap(), "pool");
}

#[test]
fn all_means_every_address_of_a_name() {
    let address = InetAddress::all("localhost:0");
    let server = TcpServer::new(address, EchoLine::default).bind().unwrap();
    let addresses = server.server_addresses();
    // How many there are is the matter of this machine's file of hosts.
    assert!(addresses.iter().all(|it| it.ip().unwrap().is_loopback()));
    assert!(addresses.iter().all(|it| it.port() == addresses[0].port()));
    let running = RunningServer::start(server);
    for address in &addresses {
        let mut client = StreamClient::connect(address);
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
    running.close();
}

#[test]
fn a_busy_address_does_not_starve_another() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request| {
        let here = request.local_address().ok_or("no connection")?;
        reporter.say(here.ip().unwrap());
        Ok(())
    });
    let server = TcpServer::new(both(), factory).bind().unwrap();
    let addresses = server.server_addresses();
    // All of them wait before the loop begins.
    let busy: Vec<_> = (0..20)
        .map(|_| StreamClient::connect(&addresses[0]))
        .collect();
    let other = StreamClient::connect(&addresses[1]);
    let running = RunningServer::start(server);
    let first_three = [(), (), ()].map(|()| reports.next_report());
    let other_ip = addresses[1].ip().unwrap().to_string();
    assert!(first_three.contains(&other_ip), "{first_three:?}");
    drop((busy, other));
    running.close();
}

#[test]
fn one_limit_and_one_statistic_are_for_all_addresses() {
    let server = ThreadingTcpServer::bind(both(), EchoLine::default).unwrap();
    let limits = Limits::default()
        .with_max_connections(1)
        .refuse_with("full\n");
    server.handle().set_limits(limits);
    let addresses = server.server_addresses();
    let running = RunningServer::start(server);
    let mut first = StreamClient::connect(&addresses[0]);
    let handle = running.handle();
    eventually("the first client is served", || {
        handle.active_request_count() == 1
    });
    let mut second = StreamClient::connect(&addresses[1]);
    assert_eq!(second.rest(), b"full\n");
    first.send("hello\n");
    assert_eq!(first.rest(), b"hello\n");
    assert_eq!(handle.statistics().accepted, 2);
    running.close();
}

#[test]
fn an_address_that_cannot_be_bound_is_the_error_and_the_others_are_released() {
    // Loopback addresses that no other test has.
    let taken = TcpServer::new("127.34.0.2:0", EchoLine::default);
    let server = taken.bind().unwrap();
    let taken = server.local_addr().unwrap();
    let free = SocketAddr::from(([127, 34, 0, 1], taken.port()));
    let both = TcpServer::new([free, taken], EchoLine::default);
    let error = both.bind().unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let alone = TcpServer::new(free, EchoLine::default).bind().unwrap();
    assert_eq!(alone.server_addresses(), [Address::from(free)]);
}

#[test]
fn a_server_of_several_addresses_can_be_stopped_and_serves_again() {
    let server = TcpServer::new(both(), EchoLine::default).bind().unwrap();
    server.shutdown();
    server.serve_forever().unwrap();
    serves_streams(server);
}

#[test]
fn the_descriptor_of_a_server_of_several_addresses_is_readable_when_a_client_has_come() {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let server = TcpServer::new(both(), EchoLine::default).bind().unwrap();
    for address in server.server_addresses() {
        let mut client = StreamClient::connect(&address);
        client.send("hello\n");
        let mut fds = [PollFd::new(server.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::NONE), Ok(1));
        server.handle_request().unwrap();
        assert_eq!(client.rest(), b"hello\n");
    }
}
