//! A write arrives whole, however many pieces and signals it takes.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::Signal;
use socketserver::{HandlerResult, Serve, StreamRequest, TcpServer, UnixStreamServer};
use support::clients::StreamClient;
use support::running_server::{RunningServer, close};
use support::services::{read_line, stream_handler};
use support::waiting::LIMIT;

/// More than the system lets the buffers of both sockets grow to, on any usual machine: 32 MiB to
/// receive and 4 MiB to send.
const MORE_THAN_EVERY_BUFFER: usize = 64 << 20;

/// A byte for each position, so that a gap or a repetition shows.
fn content(length: usize) -> Vec<u8> {
    let mut content = Vec::from_iter(0..251).repeat(length / 251 + 1);
    content.truncate(length);
    content
}

/// Receives `length` bytes and the end, while `thread` is interrupted again and again.
fn receive_interrupting(client: &mut StreamClient, thread: Pthread, length: usize) {
    let interrupted = Arc::new(AtomicBool::new(false));
    let signal = signal_hook::consts::SIGUSR1;
    let registered = signal_hook::flag::register(signal, interrupted.clone()).unwrap();
    // The thread is in the midst of the write when the first bytes are here, and blocked in it,
    // since no more are taken, or about to be.
    let mut received = client.receive_exactly(100);
    let (mut interruptions, begin) = (0, std::time::Instant::now());
    while interruptions < 5 {
        assert!(begin.elapsed() < LIMIT, "the thread is not interrupted");
        pthread_kill(thread, Signal::SIGUSR1).unwrap();
        while !interrupted.swap(false, SeqCst) {
            std::thread::yield_now();
        }
        // Room for a part of the rest, so that the write makes some way between two signals.
        received.extend(client.receive_exactly(100_000));
        interruptions += 1;
    }
    received.extend(client.rest());
    assert_eq!(received.len(), length);
    assert!(
        received == content(length),
        "the bytes came in another order"
    );
    signal_hook::low_level::unregister(registered);
}

fn a_large_write_arrives_whole(timeout: Option<Duration>) {
    let (sender, threads) = channel();
    let factory = stream_handler(move |request: &mut StreamRequest| -> HandlerResult {
        request.set_timeout(timeout)?;
        sender.send(pthread_self())?;
        request.write_all(&content(MORE_THAN_EVERY_BUFFER))?;
        Ok(())
    });
    let running = RunningServer::start(TcpServer::new("127.0.0.1:0", factory).bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    let thread = threads.recv_timeout(LIMIT).unwrap();
    receive_interrupting(&mut client, thread, MORE_THAN_EVERY_BUFFER);
    running.close();
}

#[test]
fn a_write_larger_than_every_socket_buffer_arrives_whole_although_signals_interrupt_it() {
    a_large_write_arrives_whole(None);
}

#[test]
fn a_write_with_a_timeout_arrives_whole_although_signals_interrupt_it() {
    // With a timeout on the socket the system does not restart the call after a signal: it fails
    // with EINTR where without one it would go on by itself.
    a_large_write_arrives_whole(Some(LIMIT));
}

#[test]
fn many_small_writes_arrive_whole_over_a_unix_socket() {
    const LENGTH: usize = 4 << 20;
    let factory = stream_handler(|request| {
        for piece in content(LENGTH).chunks(1000) {
            request.write_all(piece)?;
        }
        Ok(())
    });
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let running = RunningServer::start(UnixStreamServer::new(path, factory).bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    assert!(client.rest() == content(LENGTH));
    running.close();
}

#[test]
fn what_was_written_is_sent_before_the_handler_reads_and_the_rest_when_it_returns() {
    let factory = stream_handler(|request| {
        request.write_all(b"write data\n")?;
        let line = read_line(request)?;
        writeln!(request, "got {line}")?;
        Ok(())
    });
    let running = RunningServer::start(TcpServer::new("127.0.0.1:0", factory).bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    assert_eq!(client.line(), "write data");
    client.send("client response\n");
    assert_eq!(client.rest(), b"got client response\n");
    running.close();
}

#[test]
fn a_client_that_has_left_is_an_error_of_the_write_and_no_signal() {
    let (sender, ended) = channel();
    let factory = stream_handler(move |request| {
        // Until the client is gone.
        read_line(request)?;
        let big = vec![0; MORE_THAN_EVERY_BUFFER];
        let error = request.write_all(&big).unwrap_err();
        sender.send(error.kind())?;
        Ok(())
    });
    let server = TcpServer::new("127.0.0.1:0", factory).bind().unwrap();
    let client = StreamClient::connect(&server.server_address());
    client.send("bye\n");
    drop(client);
    server.handle_request().unwrap();
    let kind = ended.recv_timeout(LIMIT).unwrap();
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    assert!(matches!(kind, BrokenPipe | ConnectionReset), "{kind:?}");
    close(server);
}

#[test]
fn the_handler_reads_and_writes_through_the_connection_s_own_descriptor() {
    use std::os::fd::AsRawFd;
    let (sender, seen) = channel();
    let factory = stream_handler(move |request| {
        let socket = request.socket().ok_or("no descriptor")?;
        let socket = socket2::SockRef::from(&socket);
        sender.send((
            socket.as_raw_fd(),
            socket.peer_addr()?,
            socket.local_addr()?,
        ))?;
        Ok(request.write_all(b"here")?)
    });
    let server = TcpServer::new("127.0.0.1:0", factory).bind().unwrap();
    let mut client = StreamClient::connect(&server.server_address());
    server.handle_request().unwrap();
    assert_eq!(client.rest(), b"here");
    let (descriptor, peer, local) = seen.recv_timeout(LIMIT).unwrap();
    assert!(descriptor > 2);
    assert_eq!(
        peer.as_socket(),
        client.socket().local_addr().unwrap().as_socket()
    );
    assert_eq!(local.as_socket(), server.local_addr());
    close(server);
}
