//! Names with several addresses, and addresses with zones.

use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};

use crate::served::{Served, rest, socketserver};

#[test]
fn every_address_of_localhost_is_announced_and_served() {
    let count = ("localhost", 0).to_socket_addrs().unwrap().count();
    for options in [&[][..], &["--all-addresses"]] {
        let served = Served::start("upper", "tcp://localhost:0", options);
        every_address_is_served(served, count);
    }
}

fn every_address_is_served(mut served: Served, count: usize) {
    let mut urls = vec![served.url().to_owned()];
    for _ in 1..count {
        urls.push(served.next_url());
    }
    for url in urls {
        let address = url.strip_prefix("tcp://").unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(b"hello").unwrap();
        assert_eq!(rest(client), b"HELLO");
    }
    served.stop();
}

#[test]
fn a_unix_socket_has_no_further_addresses() {
    let arguments = [
        "serve",
        "upper",
        "--listen",
        "unix:///tmp/x",
        "--all-addresses",
    ];
    let output = socketserver(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("--all-addresses"), "{message}");
}

#[test]
fn the_address_that_a_server_prints_is_read_with_its_zone() {
    if !crate::served::has_ipv6() {
        return;
    }
    // Linux ignores the zone of the loopback address when a client connects.
    for zone in ["lo", "1", "25lo", "251"] {
        let served = Served::start("upper", &format!("tcp://[::1%{zone}]:0"), &[]);
        let mut client = socketserver(&["client", "upper", served.url()])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut keyboard = client.stdin.take().unwrap();
        keyboard.write_all(b"hello\n").unwrap();
        drop(keyboard);
        let output = client.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"HELLO\n", "{}", served.url());
        served.stop();
    }
}

#[test]
fn a_zone_that_is_no_interface_is_named_in_the_error() {
    let url = "tcp://[::1%no-such-interface]:0";
    let output = socketserver(&["serve", "upper", "--listen", url])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("no-such-interface"), "{message}");
}
