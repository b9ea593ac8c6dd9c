//! Two services that answer each other's datagrams, since one datagram has made them.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served, socketserver};

/// The time without an answer after which an exchange has ended.
const SILENCE: Duration = Duration::from_secs(1);

/// The most datagrams, in both directions, of an exchange without a pause: each server answers a
/// thousand equal ones.
const MOST: usize = 2100;

/// A datagram that takes so long may be a pause for a server, which then counts anew: half a second
/// without a datagram from the other one.
const MAY_BE_A_PAUSE: Duration = Duration::from_millis(200);

/// Relays datagrams between two servers, each of which sees the relay as its client, until one of
/// them answers no more. So two servers exchange datagrams to which a forged sender has led them.
fn exchange_until_the_end(one: &Served, other: &Served, first: &[u8]) {
    let ends = [one, other].map(|served| {
        let end = UdpSocket::bind("127.0.0.1:0").unwrap();
        end.connect(served.address()).unwrap();
        end.set_read_timeout(Some(SILENCE)).unwrap();
        end
    });
    let mut packet = vec![0; 65_536];
    ends[0].send(first).unwrap();
    let (mut without_pause, mut last) = (0, Instant::now());
    for count in 0.. {
        let (from, to) = (&ends[count % 2], &ends[(count + 1) % 2]);
        let Ok(length) = from.recv(&mut packet) else {
            return;
        };
        without_pause = match last.elapsed() < MAY_BE_A_PAUSE {
            true => without_pause + 1,
            false => 0,
        };
        assert!(without_pause <= MOST, "{count} without an end");
        last = Instant::now();
        to.send(&packet[..length]).unwrap();
    }
}

#[test]
fn two_services_that_answer_every_datagram_do_not_answer_each_other_without_end() {
    for (one, other, mixin) in [
        ("echo", "echo", "none"),
        ("echo", "echo", "threading"),
        ("time", "time", "pool"),
        ("hello", "hello", "none"),
        ("echo", "time", "none"),
        ("hello", "echo", "forking"),
    ] {
        let served = [one, other].map(|handler| {
            let url = "udp://127.0.0.1:0";
            let mut command = socketserver(&["serve", handler, "--listen", url, "--mixin", mixin]);
            // `hello` logs each message, and nobody reads the log before the end.
            command.env("RUST_LOG", "error");
            Served::run(command)
        });
        exchange_until_the_end(&served[0], &served[1], b"%Y");
        served.into_iter().for_each(Served::stop);
    }
}

#[test]
fn a_service_over_a_unix_socket_does_not_answer_the_same_datagram_without_end() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("echo");
    let served = Served::start("echo", &format!("unixgram://{}", path.display()), &[]);
    let client = UnixDatagram::bind(directory.path().join("client")).unwrap();
    client.connect(&path).unwrap();
    client.set_read_timeout(Some(SILENCE)).unwrap();
    let begun = Instant::now();
    loop {
        client.send(b"hi").unwrap();
        if client.recv(&mut [0; 10]).is_err() {
            break;
        }
        assert!(begun.elapsed() < SAFETY_NET, "without an end");
    }
    served.stop();
}

#[test]
fn a_client_with_many_different_datagrams_is_answered_each_time_and_one_that_pauses_too() {
    let served = Served::start("echo", "udp://127.0.0.1:0", &[]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(served.address()).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    let mut echoed = [0; 10];
    for number in 0..5000_u32 {
        client.send(&number.to_le_bytes()).unwrap();
        assert_eq!(client.recv(&mut echoed).unwrap(), 4);
        assert_eq!(echoed[..4], number.to_le_bytes());
    }
    client
        .set_read_timeout(Some(Duration::from_millis(600)))
        .unwrap();
    let mut lost = 0;
    for _ in 0..5000 {
        client.send(b"the same").unwrap();
        while client.recv(&mut echoed).is_err() {
            lost += 1;
            client.send(b"the same").unwrap();
        }
    }
    assert!((1..=5).contains(&lost), "{lost}");
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("not answered until it sends nothing for 500ms"),
        "{log}"
    );
}
