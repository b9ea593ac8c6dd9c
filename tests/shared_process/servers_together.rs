//! Several servers that run as one program.

use std::net::Shutdown;
use std::os::fd::AsFd;

use socket2::SockRef;
use socketserver::{
    Error, Serve, Servers, TcpServer, ThreadPoolMixIn, ThreadingMixIn, ThreadingTcpServer,
    UdpServer, UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::services::{EchoLine, stream_handler};
use support::waiting::{eventually, within_limit};

fn tcp() -> TcpServer<fn() -> EchoLine> {
    TcpServer::new("127.0.0.1:0", EchoLine::default)
}

#[test]
fn servers_of_every_kind_serve_and_stop_together() {
    let directory = support::short_paths::directory();
    let stream = UnixStreamServer::new(directory.path().join("s"), EchoLine::default);
    let datagram = UnixDatagramServer::new(directory.path().join("d"), EchoLine::default);
    let servers = Servers::new()
        .with(tcp().bind().unwrap())
        .with(stream.mix_in(ThreadingMixIn::new).bind().unwrap())
        .with(UdpServer::bind("127.0.0.1:0", EchoLine::default).unwrap())
        .with(datagram.mix_in(ThreadPoolMixIn::new).bind().unwrap());
    let addresses = servers.server_addresses();
    assert_eq!(addresses.len(), 4);
    let handle = servers.handle();
    let report = std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            servers.serve_forever().unwrap();
            servers.server_close()
        });
        for address in &addresses[..2] {
            let mut client = StreamClient::connect(address);
            client.send("hello\n");
            assert_eq!(client.rest(), b"hello\n");
        }
        for address in &addresses[2..] {
            let client = DatagramClient::connect(address);
            client.send(b"hello");
            assert_eq!(client.receive(), b"hello");
        }
        handle.shutdown();
        serving.join().unwrap()
    });
    assert_eq!(report.running, 0);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_fails_stops_the_others_and_its_error_is_returned() {
    for broken_is_first in [true, false] {
        let broken = tcp().bind().unwrap();
        // As another part of the program might.
        SockRef::from(&broken.as_fd())
            .shutdown(Shutdown::Both)
            .unwrap();
        let (good, named) = (tcp().bind().unwrap(), broken.server_address());
        let servers = match broken_is_first {
            true => Servers::new().with(broken).with(good),
            false => Servers::new().with(good).with(broken),
        };
        let error = within_limit("all have ended", move || servers.serve_forever());
        let error = error.unwrap_err();
        let names = matches!(&error, Error::GetRequest { address, .. } if *address == named);
        assert!(names, "{error:?}");
    }
}

#[test]
fn a_server_that_is_stopped_alone_leaves_the_others_serving() {
    let servers = Servers::new()
        .with(tcp().bind().unwrap())
        .with(tcp().bind().unwrap());
    let addresses = servers.server_addresses();
    let handle = servers.handle();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| servers.serve_forever());
        handle.each()[0].shutdown();
        let mut client = StreamClient::connect(&addresses[1]);
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
        assert!(!serving.is_finished());
        handle.each()[1].shutdown();
        serving.join().unwrap().unwrap();
    });
}

#[test]
fn the_report_is_the_sum_of_all_servers() {
    let waiting = || {
        stream_handler(|request| {
            while request.wait()? {}
            Ok(())
        })
    };
    let server = || ThreadingTcpServer::bind("127.0.0.1:0", waiting()).unwrap();
    let servers = Servers::new().with(server()).with(server());
    let addresses = servers.server_addresses();
    let handle = servers.handle();
    let serving = std::thread::spawn(move || {
        servers.serve_forever().unwrap();
        servers.server_close()
    });
    let clients = [0, 0, 1].map(|index: usize| StreamClient::connect(&addresses[index]));
    eventually("three handlers wait", || {
        let idle = handle.each().iter().map(|it| it.statistics().idle);
        idle.sum::<u64>() == 3
    });
    handle.shutdown();
    assert_eq!(serving.join().unwrap().idle, 3);
    drop(clients);
}

#[test]
fn no_servers_end_at_once_and_a_stop_before_the_loops_ends_them() {
    Servers::new().serve_forever().unwrap();
    let servers = Servers::new()
        .with(tcp().bind().unwrap())
        .with(tcp().bind().unwrap());
    servers.handle().shutdown();
    within_limit("all have ended", move || servers.serve_forever()).unwrap();
}

#[test]
fn the_shards_of_an_address_divide_its_clients_and_their_report_is_the_sum() {
    let shard = |address| {
        let server = TcpServer::new(address, EchoLine::default).allow_reuse_port(true);
        server.mix_in(ThreadingMixIn::new).bind().unwrap()
    };
    let first = shard(([127, 0, 0, 1], 0).into());
    let address = first.local_addr().unwrap();
    let servers = (1..4).fold(Servers::new().with(first), |servers, _| {
        servers.with(shard(address))
    });
    let handle = servers.handle();
    let serving = std::thread::spawn(move || {
        servers.serve_forever().unwrap();
        servers.server_close()
    });
    for _ in 0..40 {
        let mut client = StreamClient::connect(&address.into());
        client.send("hello\n");
        assert_eq!(client.rest(), b"hello\n");
    }
    let served = handle.each().iter().map(|it| it.statistics().accepted);
    assert_eq!(served.sum::<u64>(), 40);
    handle.shutdown();
    assert_eq!(serving.join().unwrap().running, 0);
}
