//! `socketserver serve … --listen … --listen …` and `--shards`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use support::short_paths::directory;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

const MIX_INS: [&str; 5] = ["none", "threading", "forking", "pool", "reactor"];

/// The command with these URLs.
fn serve(handler: &str, urls: &[&str], options: &[&str]) -> Served {
    let mut command = socketserver(&["serve", handler]);
    for url in urls {
        command.args(["--listen", url]);
    }
    Served::run({
        command.args(options);
        command
    })
}

/// Runs the command, which must fail with 2, and returns its message.
fn refused(arguments: &[&str]) -> String {
    let output = socketserver(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    message
}

fn address(url: &str) -> &str {
    url.split_once("://").unwrap().1
}

fn connect(url: &str) -> TcpStream {
    let client = TcpStream::connect(address(url)).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client
}

/// Sends a datagram to a UDP server, and returns the reply.
fn ask(url: &str, packet: &[u8]) -> Vec<u8> {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(packet, address(url)).unwrap();
    let mut reply = [0; 100];
    let length = client.recv(&mut reply).unwrap();
    reply[..length].to_vec()
}

fn ask_unix(server: &Path, packet: &[u8]) -> Vec<u8> {
    let client = UnixDatagram::bind(server.with_extension("client")).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(packet, server).unwrap();
    let mut reply = [0; 100];
    let length = client.recv(&mut reply).unwrap();
    std::fs::remove_file(server.with_extension("client")).unwrap();
    reply[..length].to_vec()
}

#[test]
fn with_each_mix_in_every_kind_of_address_is_served_at_once_and_drained_once() {
    for mixin in MIX_INS {
        let directory = directory();
        let [stream, datagram] = ["s", "d"].map(|name| directory.path().join(name));
        let unix = format!("unix://{}", stream.display());
        let unixgram = format!("unixgram://{}", datagram.display());
        let urls = ["tcp://127.0.0.1:0", &unix, "udp://127.0.0.1:0", &unixgram];
        // Datagrams are not parked.
        let mixin = ["--mixin", mixin];
        let mut served = serve("echo", &urls, &mixin);
        let tcp = served.url().to_owned();
        let announced = [(); 3].map(|()| served.next_url());
        assert!(tcp.starts_with("tcp://127.0.0.1:"), "{tcp}");
        assert_eq!(announced[0], unix);
        assert!(announced[1].starts_with("udp://127.0.0.1:"));
        assert_eq!(announced[2], unixgram);

        let mut first = connect(&tcp);
        assert_eq!(exchange(&mut first, b"tcp", 3), b"tcp", "{mixin:?}");
        let mut second = UnixStream::connect(&stream).unwrap();
        assert_eq!(exchange(&mut second, b"unix", 4), b"unix", "{mixin:?}");
        assert_eq!(ask(&announced[1], b"udp"), b"udp");
        assert_eq!(ask_unix(&datagram, b"unixgram"), b"unixgram");

        served.signal(Signal::SIGTERM);
        assert_eq!(rest(&mut first), b"");
        assert_eq!(rest(&mut second), b"");
        let (status, stdout, log) = served.exit();
        assert_eq!((status, &*stdout), (Some(0), ""), "{mixin:?}: {log}");
        let reports = log.matches("stopped; requests: ").count();
        assert_eq!(reports, 1, "{log}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

#[test]
fn the_report_has_the_requests_of_every_address() {
    let mut served = serve("echo", &["tcp://127.0.0.1:0"; 3], &[]);
    let urls = [
        served.url().to_owned(),
        served.next_url(),
        served.next_url(),
    ];
    let clients = urls.map(|url| {
        let mut client = connect(&url);
        exchange(&mut client, b"x", 1);
        client
    });
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("requests: 3 idle, "), "{log}");
    drop(clients);
}

#[test]
fn nothing_is_announced_or_left_if_one_address_cannot_be_bound() {
    let directory = directory();
    let path = directory.path().join("socket");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let unix = format!("unix://{}", path.display());
    let output = socketserver(&["serve", "echo", "--listen", &unix, "--listen", &taken])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(output.stdout, b"");
    assert!(message.contains(address(&taken)), "{message}");
    assert!(!path.exists());
}

#[test]
fn the_operator_of_all_addresses_is_one_and_ends_all_of_them() {
    let mut served = {
        let mut command = socketserver(&["serve", "operator"]);
        command.args([
            "--listen",
            "udp://127.0.0.1:0",
            "--listen",
            "udp://127.0.0.1:0",
        ]);
        let (input, mut keyboard) = std::io::pipe().unwrap();
        command.stdin(input);
        keyboard.write_all(b"first\nsecond\nq\n").unwrap();
        Served::run(command)
    };
    let (first, second) = (served.url().to_owned(), served.next_url());
    assert_eq!(ask(&first, b"here"), b"first");
    assert_eq!(ask(&second, b"here"), b"second");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"here", address(&first)).unwrap();
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn an_option_holds_for_those_addresses_that_have_a_use_for_it() {
    let directory = directory();
    let path = directory.path().join("socket");
    let unix = format!("unix://{}", path.display());
    let urls = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0", &unix];
    let options = ["--idle-timeout", "0.05", "--socket-mode", "600"];
    let mut served = serve("echo", &urls, &options);
    let udp = served.url().to_owned();
    let tcp = served.next_url();
    served.next_url();
    assert_eq!(ask(&udp, b"udp"), b"udp");
    // Ended by the deadline.
    let mut idle = connect(&tcp);
    let mut end = [0];
    assert!(matches!(idle.read(&mut end), Ok(0)));
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    served.stop();
}

#[test]
fn an_option_without_a_use_and_a_key_that_would_guard_a_part_are_refused() {
    let tcp = ["serve", "echo", "--listen", "tcp://127.0.0.1:0"];
    let udp = ["--listen", "udp://127.0.0.1:0"];
    let both = [&tcp[..], &udp].concat();
    for (arguments, expected) in [
        (
            [&both[..], &["--socket-mode", "600"]].concat(),
            "--socket-mode",
        ),
        (
            [&both[..], &["--auth-key-file", "k"]].concat(),
            "udp has none",
        ),
        (
            vec![
                "serve",
                "echo",
                "--listen",
                "unix:///tmp/x",
                "--shards",
                "2",
            ],
            "--shards",
        ),
        ([&tcp[..], &["--shards", "0"]].concat(), "--shards"),
        (
            [
                &["serve", "shell", "--listen", "tcp://127.0.0.1:0"][..],
                &["--listen", "tcp://0.0.0.0:0"],
            ]
            .concat(),
            "0.0.0.0",
        ),
        (
            [&["serve", "upper"], &udp[..]].concat(),
            "does not run over udp",
        ),
    ] {
        let message = refused(&arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn with_each_mix_in_the_shards_of_an_address_serve_their_clients() {
    for mixin in MIX_INS {
        let urls = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"];
        let mut served = serve("echo", &urls, &["--shards", "3", "--mixin", mixin]);
        let (tcp, udp) = (served.url().to_owned(), served.next_url());
        // Each client has a port of its own, of which the kernel takes the shard.
        let mut clients = Vec::from_iter((0..12).map(|_| connect(&tcp)));
        for (number, client) in clients.iter_mut().enumerate() {
            let number = u8::try_from(number).unwrap();
            client.write_all(&[number]).unwrap();
            // A shard may have more clients than it serves at a time.
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let mut answer = [0];
            client.read_exact(&mut answer).unwrap();
            assert_eq!(usize::from(answer[0]), number, "{mixin}");
        }
        for number in 0..12 {
            assert_eq!(ask(&udp, &[number]), [number], "{mixin}");
        }
        let listening = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port: u16 = address(&tcp).rsplit_once(':').unwrap().1.parse().unwrap();
        let here = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
        assert_eq!(listening.matches(&here).count(), 3);
        drop(clients);
        served.stop();
    }
}

#[test]
fn shards_do_not_share_an_address_with_another_program() {
    let options = ["--shards", "2"];
    for scheme in ["tcp", "udp"] {
        let served = serve("echo", &[&format!("{scheme}://127.0.0.1:0")], &options);
        let output = socketserver(&["serve", "echo", "--listen", served.url()])
            .args(options)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("in use"), "{message}");
        served.stop();
    }
}

#[test]
fn forking_loops_that_log_beside_each_other_leave_no_child_behind_a_lock() {
    // Each request logs in its child, and each refused connection in a loop of the parent.
    let options = ["--mixin", "forking", "--shards", "2"];
    let mut served = serve("hello", &["tcp://127.0.0.1:0"; 2], &options);
    let urls = [served.url().to_owned(), served.next_url()];
    std::thread::scope(|scope| {
        for url in urls.iter().cycle().take(4) {
            scope.spawn(move || {
                for _ in 0..25 {
                    let mut client = connect(url);
                    client.write_all(b"hello").unwrap();
                    assert_eq!(rest(client), b"hi");
                }
            });
        }
    });
    served.stop();
}
