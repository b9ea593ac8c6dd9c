//! A loop whose listening socket is taken away ends with an error, and neither spins nor hangs.
//!
//! The test closes descriptors, whose numbers every other part of the process may be given.

use std::fs::File;
use std::net::{Shutdown, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::mpsc::channel;

use nix::errno::Errno;
use socket2::{Domain, SockRef, Socket, Type};
use socketserver::{
    Address, BaseServer, Error, ForkingMixIn, ReactorMixIn, Serve, Server, TcpServer,
    ThreadPoolMixIn, ThreadingMixIn, UdpServer, UnixDatagramServer, UnixStreamServer,
};
use support::clients::{DatagramClient, StreamClient};
use support::own_process::alone;
use support::running_server::close;
use support::services::EchoLine;
use support::waiting::{LIMIT, within_limit};

const LOOPBACK: &str = "127.0.0.1:0";

/// What happens to the listening socket behind its owner's back.
#[derive(Debug, Clone, Copy)]
enum Loss {
    ShutDown(Shutdown),
    Closed,
    /// Closed, and something else gets the number of its descriptor.
    Replaced(fn() -> OwnedFd),
}

fn null() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

fn stream_socket() -> OwnedFd {
    Socket::new(Domain::IPV4, Type::STREAM, None)
        .unwrap()
        .into()
}

fn datagram_socket() -> OwnedFd {
    UdpSocket::bind(LOOPBACK).unwrap().into()
}

/// Opens until the descriptor with the number `place`, which is free, is among the opened ones, and
/// leaves that to whoever takes it for its own.
fn put_in_place(place: RawFd, open: fn() -> OwnedFd) {
    let mut others = Vec::new();
    loop {
        let opened = open();
        if opened.as_raw_fd() == place {
            let _ = opened.into_raw_fd();
            return;
        }
        others.push(opened);
        assert!(others.len() < 100, "nothing gets the number {place}");
    }
}

/// Takes the listening socket away from a loop that has served a client, and expects an error that
/// names the server's address.
fn loses<S: BaseServer>(
    server: Server<S>,
    serve_one: impl Fn(&Address),
    loss: Loss,
    expected: Option<Errno>,
) {
    let place = server.as_fd().as_raw_fd();
    let address = server.server_address();
    let server = Arc::new(server);
    let serving = server.clone();
    let (sender, ended) = channel();
    let thread = std::thread::spawn(move || sender.send(serving.serve_forever()).unwrap());
    serve_one(&address);
    match loss {
        Loss::ShutDown(how) => {
            // It has an effect on a datagram socket too, although that is not connected.
            let _ = SockRef::from(&*server).shutdown(how);
        }
        Loss::Closed => {
            nix::unistd::close(place).unwrap();
            // One that is closed wakes nobody who waits on it.
            server.stack().layer_handle().wake();
        }
        Loss::Replaced(open) => {
            nix::unistd::close(place).unwrap();
            put_in_place(place, open);
            server.stack().layer_handle().wake();
        }
    }
    let result = ended
        .recv_timeout(LIMIT)
        .unwrap_or_else(|_| panic!("{loss:?} of {address} does not end the loop"));
    let Err(Error::GetRequest {
        address: named,
        source,
        ..
    }) = result
    else {
        panic!("{loss:?}: {result:?}");
    };
    assert_eq!(named, address);
    if let Some(errno) = expected {
        // A loop that looks before another descriptor has the number finds no descriptor.
        let errnos = [errno, Errno::EBADF].map(|errno| Some(errno as i32));
        assert!(
            errnos.contains(&source.raw_os_error()),
            "{loss:?}: {source}"
        );
    }
    thread.join().unwrap();
    if let Loss::Closed = loss {
        // The server closes what it takes for its own.
        put_in_place(place, null);
    }
    close(Arc::into_inner(server).unwrap());
}

fn serve_stream(address: &Address) {
    let mut client = StreamClient::connect(address);
    client.send("hello\n");
    assert_eq!(client.rest(), b"hello\n");
}

fn serve_datagram(address: &Address) {
    let client = DatagramClient::connect(address);
    client.send(b"hello");
    assert_eq!(client.receive(), b"hello");
}

fn loses_in_every_way<S: BaseServer>(layers: impl Fn() -> S) {
    for (loss, expected) in [
        (Loss::ShutDown(Shutdown::Both), None),
        (Loss::ShutDown(Shutdown::Read), None),
        (Loss::Closed, Some(Errno::EBADF)),
        (Loss::Replaced(null), Some(Errno::ENOTSOCK)),
        (Loss::Replaced(stream_socket), Some(Errno::EINVAL)),
        (Loss::Replaced(datagram_socket), Some(Errno::EOPNOTSUPP)),
    ] {
        loses(layers().bind().unwrap(), serve_stream, loss, expected);
    }
}

fn datagrams_lose_in_every_way<S: BaseServer>(layers: impl Fn() -> S) {
    for (loss, expected) in [
        (Loss::ShutDown(Shutdown::Both), None),
        (Loss::ShutDown(Shutdown::Read), None),
        (Loss::Closed, Some(Errno::EBADF)),
        (Loss::Replaced(null), Some(Errno::ENOTSOCK)),
        (Loss::Replaced(stream_socket), Some(Errno::ENOTCONN)),
    ] {
        loses(layers().bind().unwrap(), serve_datagram, loss, expected);
    }
}

/// A client that connects is the first thing that wakes the loop after the loss.
fn a_client_reveals_the_loss() {
    let layers = TcpServer::new(LOOPBACK, EchoLine::default);
    let server = Arc::new(layers.bind().unwrap());
    let (address, place) = (server.local_addr().unwrap(), server.as_fd().as_raw_fd());
    let serving = server.clone();
    let (sender, ended) = channel();
    let thread = std::thread::spawn(move || sender.send(serving.serve_forever()).unwrap());
    serve_stream(&server.server_address());
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    nix::unistd::close(place).unwrap();
    // Who waits on a closed socket keeps it listening; who does not has found it closed already.
    let _ = client.connect(&address.into());
    let result = ended.recv_timeout(LIMIT).expect("the loop does not end");
    assert!(
        matches!(result, Err(Error::GetRequest { .. })),
        "{result:?}"
    );
    thread.join().unwrap();
    put_in_place(place, null);
    close(Arc::into_inner(server).unwrap());
}

/// A program that calls `handle_request` in a loop of its own receives the error as well.
fn a_single_request_is_not_waited_for() {
    let layers = UdpServer::new(LOOPBACK, EchoLine::default);
    let server = layers.bind().unwrap();
    let _ = SockRef::from(&server).shutdown(Shutdown::Both);
    let (result, server) =
        within_limit("handle_request", move || (server.handle_request(), server));
    assert!(
        matches!(result, Err(Error::GetRequest { .. })),
        "{result:?}"
    );
    close(server);
}

#[test]
fn a_loop_that_loses_its_socket_ends_with_an_error_that_names_the_address() {
    alone(|| {
        let tcp = || TcpServer::new(LOOPBACK, EchoLine::default);
        loses_in_every_way(tcp);
        loses_in_every_way(|| tcp().mix_in(ThreadingMixIn::new));
        loses_in_every_way(|| tcp().mix_in(ThreadPoolMixIn::new));
        loses_in_every_way(|| tcp().mix_in(ReactorMixIn::new));
        loses_in_every_way(|| tcp().mix_in(ForkingMixIn::new));
        let directory = support::short_paths::directory();
        let path = directory.path().join("socket");
        loses_in_every_way(|| UnixStreamServer::new(&path, EchoLine::default));
        datagrams_lose_in_every_way(|| UdpServer::new(LOOPBACK, EchoLine::default));
        datagrams_lose_in_every_way(|| UnixDatagramServer::new(&path, EchoLine::default));
        a_client_reveals_the_loss();
        a_single_request_is_not_waited_for();
    });
}
