//! A program for each datagram.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use super::exec;
use crate::served::SAFETY_NET;

fn client(served: &crate::served::Served) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.connect(served.address()).unwrap();
    client
}

fn receive(client: &UdpSocket) -> String {
    let mut reply = [0; 1000];
    let count = client.recv(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..count]).into_owned()
}

const UDP: &str = "udp://127.0.0.1:0";

#[test]
fn with_each_mix_in_a_datagram_is_the_input_and_the_output_one_reply() {
    for mixin in ["threading", "none", "forking", "pool", "reactor"] {
        let program = [
            "sh",
            "-c",
            "cat; echo \" $PROTO $UDPREMOTEPORT $UDPLOCALIP\"",
        ];
        let served = exec(UDP, &["--mixin", mixin], &program);
        let client = client(&served);
        let port = client.local_addr().unwrap().port();
        for message in ["hello", "again"] {
            client.send(message.as_bytes()).unwrap();
            let expected = format!("{message} UDP {port} 127.0.0.1\n");
            assert_eq!(receive(&client), expected, "{mixin}");
        }
        served.stop();
    }
}

#[test]
fn over_a_unix_socket_a_client_with_a_name_has_its_reply() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let url = format!("unixgram://{}", path.display());
    let served = exec(&url, &[], &["sh", "-c", "cat; echo $PROTO $REMOTE_ADDR"]);
    let own = directory.path().join("client");
    let client = UnixDatagram::bind(&own).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(b"hello ", &path).unwrap();
    let mut reply = [0; 1000];
    let count = client.recv(&mut reply).unwrap();
    let expected = format!("hello IPC {}\n", own.display());
    assert_eq!(String::from_utf8_lossy(&reply[..count]), expected);
    served.stop();
}

#[test]
fn a_lifetime_ends_the_program_of_a_datagram_and_nothing_is_sent() {
    let program = ["sh", "-c", "echo part; sleep 1000"];
    let mut served = exec(UDP, &["--lifetime", "0.2"], &program);
    let client = client(&served);
    client.send(b"x").unwrap();
    let line = served.wait_for_log("ended: ");
    assert!(line.contains("signal SIGTERM"), "{line}");
    assert!(line.contains("ended at its lifetime of 200ms"), "{line}");
    client.set_nonblocking(true).unwrap();
    assert!(client.recv(&mut [0; 10]).is_err());
    served.stop();
}

#[test]
fn the_drain_timeout_ends_the_program_of_a_datagram() {
    let program = [
        "sh",
        "-c",
        "trap '' TERM; echo began >&2; while :; do sleep 0.1; done",
    ];
    let mut served = exec(UDP, &["--drain-timeout", "0.2"], &program);
    client(&served).send(b"x").unwrap();
    served.wait_for_log("began");
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("ended: signal SIGKILL"), "{log}");
    assert!(log.contains("ended at the drain timeout"), "{log}");
}
