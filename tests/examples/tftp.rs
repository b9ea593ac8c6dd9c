//! Transfers with lost packets, and requests for files outside of the directory.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use socketserver::mock::MockDatagram;

use super::*;

/// Asks a server of `directory` for a file, and returns what `client` makes of its answers.
fn with_server<T>(directory: &Path, ask: &str, client: impl FnOnce(UdpSocket) -> T) -> T {
    let tftp = Tftp {
        directory: directory.to_owned(),
        patience: Duration::from_millis(20),
    };
    let server = ThreadingUdpServer::bind("127.0.0.1:0", move || tftp.clone()).unwrap();
    let handle = server.handle();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
        .send_to(ask.as_bytes(), server.local_addr().unwrap())
        .unwrap();
    let serving = thread::spawn(move || server.serve_forever());
    let result = client(socket);
    handle.shutdown();
    serving.join().unwrap().unwrap();
    result
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = vec![0; 1500];
    let (length, sender) = socket.recv_from(&mut packet).unwrap();
    packet.truncate(length);
    (packet, sender)
}

#[test]
fn a_file_arrives_whole_though_packets_are_lost() {
    let directory = tempfile::tempdir().unwrap();
    for length in [0, 511, 512, 513, 2048] {
        let content = Vec::from_iter((0..length).map(|it| it as u8));
        std::fs::write(directory.path().join("file"), &content).unwrap();
        let received = with_server(directory.path(), "\0\x01file\0octet\0", |socket| {
            let mut received = Vec::<u8>::new();
            let mut number = 1_u16;
            loop {
                // The first copy of every packet is lost, and the second acknowledged.
                let (lost, _) = receive(&socket);
                let (packet, sender) = receive(&socket);
                assert_eq!(lost, packet);
                assert_eq!(packet[..4], [0, 3, 0, number as u8]);
                socket.send_to(&[0, 4, 0, number as u8], sender).unwrap();
                received.extend(&packet[4..]);
                number += 1;
                if packet.len() < 4 + BLOCK {
                    return received;
                }
            }
        });
        assert!(received == content, "{length} bytes");
    }
}

#[test]
fn a_client_that_acknowledges_nothing_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "text").unwrap();
    let socket = with_server(directory.path(), "\0\x01file\0octet\0", |socket| {
        for _ in 0..ATTEMPTS {
            assert_eq!(receive(&socket).0, b"\0\x03\0\x01text");
        }
        socket
    });
    socket.set_nonblocking(true).unwrap();
    let error = socket.recv(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[test]
fn what_is_no_file_of_the_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("shared")).unwrap();
    std::fs::write(directory.path().join("secret"), "").unwrap();
    let tftp = || Tftp {
        directory: directory.path().join("shared"),
        patience: Duration::ZERO,
    };
    for name in [
        "../secret",
        "/etc/passwd",
        "./../secret",
        "missing",
        ".",
        "",
    ] {
        let recording = MockDatagram::new(format!("\0\x01{name}\0octet\0")).run(tftp());
        assert!(recording.sent()[0].starts_with(b"\0\x05\0\0"), "{name}");
    }
    let upload = MockDatagram::new("\0\x02file\0octet\0").run(tftp());
    assert_eq!(upload.sent(), [b"\0\x05\0\0this server only sends files\0"]);
    // Otherwise two servers would answer each other without end.
    let error = MockDatagram::new("\0\x05\0\0error\0").run(tftp());
    assert!(error.sent().is_empty());
}
