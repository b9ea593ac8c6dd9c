//! Every handler, transport and mix-in, through real sockets.

use std::io::{self, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

/// The tutorial's client of its complete example, byte for byte.
#[test]
fn the_tutorial_s_client_is_sent_hello_in_upper_case() {
    let served = Served::start("upper", "tcp://127.0.0.1:0", &[]);
    for _ in 0..3 {
        let mut client = served.connect();
        client.write_all(b"hello\n").unwrap();
        assert_eq!(rest(client), b"HELLO");
    }
    served.stop();
}

#[test]
fn every_read_comes_back_in_upper_case_until_the_client_closes() {
    let served = Served::start("upper-loop", "tcp://localhost:0", &[]);
    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"hello", 5), b"HELLO");
    assert_eq!(exchange(&mut client, b"nice day", 8), b"NICE DAY");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"");
    served.stop();
}

#[test]
fn a_client_that_has_sent_a_message_is_greeted() {
    let served = Served::start("greeting", "tcp://127.0.0.1:0", &[]);
    let mut client = served.connect();
    client.write_all("你好".as_bytes()).unwrap();
    let greeting = rest(client);
    assert_eq!(greeting, socketserver_handlers::GREETING.as_bytes());
    served.stop();
}

#[test]
fn a_message_is_logged_with_the_client_s_address_and_answered_with_hi() {
    let mut served = Served::start("hello", "tcp://127.0.0.1:0", &[]);
    let mut client = served.connect();
    let address = client.local_addr().unwrap();
    client.write_all("你好\n".as_bytes()).unwrap();
    assert_eq!(rest(client), b"hi");
    let line = served.wait_for_log("sent");
    assert!(
        line.contains(&format!("{address} sent \"你好\\n\"")),
        "{line}"
    );
    served.stop();
}

#[test]
fn a_quiet_log_has_no_message() {
    let mut command = socketserver(&["serve", "hello", "--listen", "tcp://127.0.0.1:0"]);
    command.env("RUST_LOG", "error");
    let served = Served::run(command);
    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"hello", 2), b"hi");
    served.signal(nix::sys::signal::Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    // The report of the stop is printed at every log level.
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.starts_with("stopped; requests: "), "{log}");
}

#[test]
fn the_time_is_that_of_the_local_time_zone() {
    let mut command = socketserver(&["serve", "time", "--listen", "udp://127.0.0.1:0"]);
    command.env("TZ", "CST-8");
    let served = Served::run(command);
    let client = udp_client(&served);
    assert_eq!(ask(&client, b"%z %Z"), b"+0800 CST");
    assert_eq!(ask(&client, b"").len(), "2024-02-03 04:05:06".len());
    assert_eq!(ask(&client, b"\xff"), b"error: the format is not utf-8");
    served.stop();
}

#[test]
fn an_endless_line_is_refused_while_the_client_still_sends() {
    let served = Served::start("time", "tcp://127.0.0.1:0", &[]);
    let mut client = served.connect();
    let mut sent = 0;
    // The loop ends when the server has closed, since the buffers of both sides are bounded.
    while sent < 1 << 28 && client.write_all(&[b'x'; 1 << 16]).is_ok() {
        sent += 1 << 16;
    }
    assert!(sent < 1 << 28);
    let expected = b"error: the format is longer than 1024 bytes\n";
    let mut answer = [0; 44];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, expected);
    served.stop();
}

#[test]
fn the_largest_datagram_comes_back_whole() {
    let served = Served::start("echo", "udp://127.0.0.1:0", &[]);
    let client = udp_client(&served);
    let packet = Vec::from_iter((0..65_507_u32).map(|i| i.to_le_bytes()[0]));
    assert!(ask(&client, &packet) == packet);
    assert_eq!(ask(&client, b""), b"");
    served.stop();
}

#[test]
fn an_ipv6_address_is_in_brackets_in_the_url_that_is_printed() {
    if !crate::served::has_ipv6() {
        return;
    }
    let served = Served::start("upper", "tcp://[::1]:0", &[]);
    assert!(served.url().starts_with("tcp://[::1]:"), "{}", served.url());
    let mut client = served.connect();
    client.write_all(b"six").unwrap();
    assert_eq!(rest(client), b"SIX");
    served.stop();
}

#[test]
fn the_real_port_is_in_the_one_line_that_is_printed() {
    let served = Served::start("upper", "tcp://127.0.0.1:0", &[]);
    assert_ne!(served.address().port(), 0);
    assert_eq!(served.url(), format!("tcp://{}", served.address()));
    served.stop();
}

#[test]
fn every_transport_is_served_one_request_at_a_time() {
    serve_every_transport("none");
}

#[test]
fn every_transport_is_served_in_threads() {
    serve_every_transport("threading");
}

#[test]
fn every_transport_is_served_in_child_processes() {
    serve_every_transport("forking");
}

#[test]
fn every_transport_is_served_by_a_pool() {
    serve_every_transport("pool");
}

fn serve_every_transport(mixin: &str) {
    let options = ["--mixin", mixin];
    let directory = support::short_paths::directory();
    let path = directory.path().join("server");

    let served = Served::start("echo", "tcp://127.0.0.1:0", &options);
    for message in [b"one".as_slice(), b"two", b"three"] {
        let mut client = served.connect();
        assert_eq!(exchange(&mut client, message, message.len()), message);
        assert_eq!(exchange(&mut client, b"more", 4), b"more");
    }
    served.stop();

    let served = Served::start("echo", "udp://127.0.0.1:0", &options);
    for message in [b"one".as_slice(), b"two", b"three"] {
        assert_eq!(ask(&udp_client(&served), message), message);
    }
    served.stop();

    let url = format!("unix://{}", path.display());
    let served = Served::start("echo", &url, &options);
    assert_eq!(served.url(), url);
    for message in [b"one".as_slice(), b"two", b"three"] {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        assert_eq!(exchange(&mut client, message, message.len()), message);
    }
    served.stop();
    assert!(!path.exists());

    let url = format!("unixgram://{}", path.display());
    let served = Served::start("echo", &url, &options);
    assert_eq!(served.url(), url);
    for message in [b"one".as_slice(), b"two", b"three"] {
        let name = String::from_utf8_lossy(message);
        let client = UnixDatagram::bind(directory.path().join(&*name)).unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.connect(&path).unwrap();
        client.send(message).unwrap();
        assert_eq!(datagram(|buffer| client.recv(buffer)), message);
    }
    served.stop();
    assert!(!path.exists());
}

#[test]
fn a_socket_that_a_killed_server_has_left_is_replaced() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("server");
    let url = format!("unix://{}", path.display());
    drop(Served::start("upper", &url, &[]));
    assert!(path.exists());
    let served = Served::start("upper", &url, &[]);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"again").unwrap();
    assert_eq!(rest(client), b"AGAIN");
    served.stop();
}

#[test]
fn a_pool_has_as_many_threads_as_workers() {
    for workers in [2, 7] {
        let options = ["--mixin", "pool", "--workers", &workers.to_string()];
        let served = Served::start("echo", "tcp://127.0.0.1:0", &options);
        let tasks = format!("/proc/{}/task", served.process_id());
        let is_worker = |task: std::io::Result<std::fs::DirEntry>| {
            let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
            name.is_ok_and(|name| name.ends_with(" pool\n"))
        };
        // A thread takes its name when it first runs.
        let begin = std::time::Instant::now();
        let mut count = 0;
        while count < workers && begin.elapsed() < SAFETY_NET {
            let tasks = std::fs::read_dir(&tasks).unwrap();
            count = tasks.map(is_worker).filter(|is| *is).count();
        }
        assert_eq!(count, workers);
        served.stop();
    }
}

#[test]
fn a_forking_server_has_no_more_children_than_workers() {
    let options = ["--mixin", "forking", "--workers", "1"];
    let served = Served::start("upper-loop", "tcp://127.0.0.1:0", &options);
    let mut first = served.connect();
    assert_eq!(exchange(&mut first, b"a", 1), b"A");
    let mut second = served.connect();
    second.write_all(b"b").unwrap();
    // While the only child is busy, no other client is served.
    for _ in 0..100 {
        assert_eq!(exchange(&mut first, b"a", 1), b"A");
    }
    second.set_nonblocking(true).unwrap();
    let nothing = second.peek(&mut [0]).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    drop(first);
    assert_eq!(exchange(&mut second, b"c", 2), b"BC");
    served.stop();
}

fn udp_client(served: &Served) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.connect(served.address()).unwrap();
    client
}

fn ask(client: &UdpSocket, packet: &[u8]) -> Vec<u8> {
    client.send(packet).unwrap();
    datagram(|buffer| client.recv(buffer))
}

/// The next datagram, however often a signal interrupts the wait for it.
fn datagram(receive: impl Fn(&mut [u8]) -> io::Result<usize>) -> Vec<u8> {
    let mut packet = vec![0; 65_536];
    let length = loop {
        match receive(&mut packet) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    packet.truncate(length);
    packet
}
