//! Who is admitted: `--allow`, `--deny`, `--rules`, `--rate` and `--refuse-with`.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};

use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";

/// A client with this address of the loopback network.
fn client_from(ip: &str, served: &Served) -> TcpStream {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let own = SocketAddr::new(ip.parse().unwrap(), 0);
    client.bind(&own.into()).unwrap();
    client.connect(&served.address().into()).unwrap();
    let client = TcpStream::from(client);
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client
}

fn is_served(ip: &str, served: &Served) -> bool {
    let mut client = client_from(ip, served);
    // Fails if the connection is closed already.
    let _ = client.write_all(b"hello");
    let mut answer = [0; 5];
    std::io::Read::read_exact(&mut client, &mut answer).is_ok_and(|()| &answer == b"hello")
}

#[test]
fn with_each_mix_in_the_smallest_network_of_a_client_decides() {
    for mixin in ["threading", "none", "forking", "pool", "reactor"] {
        let options = [
            "--mixin",
            mixin,
            "--deny",
            "127.0.0.0/8",
            "--allow",
            "127.0.0.0/29",
            "--deny",
            "127.0.0.2",
        ];
        let mut served = Served::start("echo", LOOPBACK, &options);
        assert!(is_served("127.0.0.1", &served), "{mixin}");
        assert!(!is_served("127.0.0.2", &served), "{mixin}");
        served.wait_for_log("refused: not verified");
        assert!(is_served("127.0.0.3", &served), "{mixin}");
        assert!(!is_served("127.0.0.8", &served), "{mixin}");
        served.stop();
    }
}

#[test]
fn a_program_is_not_started_for_a_client_that_is_denied() {
    let arguments = ["exec", "--listen", LOOPBACK, "--deny", "127.0.0.2", "cat"];
    let served = Served::run(socketserver(&arguments));
    assert!(!is_served("127.0.0.2", &served));
    assert!(is_served("127.0.0.1", &served));
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    assert_eq!(log.matches("] ended: ").count(), 1, "{log}");
}

#[test]
fn a_datagram_of_a_denied_sender_has_no_reply() {
    let served = Served::start("echo", "udp://127.0.0.1:0", &["--deny", "127.0.0.2"]);
    let [denied, allowed] = ["127.0.0.2:0", "127.0.0.1:0"].map(|own| {
        let client = UdpSocket::bind(own).unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.connect(served.address()).unwrap();
        client
    });
    denied.send(b"hello").unwrap();
    allowed.send(b"hello").unwrap();
    assert_eq!(allowed.recv(&mut [0; 10]).unwrap(), 5);
    denied.set_nonblocking(true).unwrap();
    assert!(denied.recv(&mut [0; 10]).is_err());
    served.stop();
}

#[cfg(feature = "proxy-protocol")]
#[test]
fn behind_a_proxy_the_address_is_the_client_s() {
    for mixin in ["threading", "forking", "reactor"] {
        let options = [
            "--mixin",
            mixin,
            "--proxy-protocol",
            "--trust",
            "127.0.0.1",
            "--allow",
            "192.0.2.0/24",
            "--deny",
            "192.0.2.66",
        ];
        let served = Served::start("echo", LOOPBACK, &options);
        let speak = |client: &str| {
            let mut connection = served.connect();
            let header = format!("PROXY TCP4 {client} 198.51.100.1 1000 443\r\nhello");
            connection.write_all(header.as_bytes()).unwrap();
            connection.shutdown(std::net::Shutdown::Write).unwrap();
            rest(connection)
        };
        assert_eq!(speak("192.0.2.7"), b"hello", "{mixin}");
        assert_eq!(speak("192.0.2.66"), b"", "{mixin}");
        assert_eq!(speak("203.0.113.1"), b"", "{mixin}");
        served.stop();
    }
}

#[test]
fn sighup_reads_the_rules_again_and_broken_rules_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::write(&rules, "deny 127.0.0.2 # for now\n").unwrap();
    for mixin in ["threading", "forking"] {
        fs::write(&rules, "deny 127.0.0.2 # for now\n").unwrap();
        let options = ["--mixin", mixin, "--rules", rules.to_str().unwrap()];
        let mut served = Served::start("echo", LOOPBACK, &options);
        assert!(is_served("127.0.0.1", &served));
        assert!(!is_served("127.0.0.2", &served));

        fs::write(&rules, "allow 127.0.0.2\n").unwrap();
        served.signal(Signal::SIGHUP);
        served.wait_for_log("the rules were loaded again");
        assert!(!is_served("127.0.0.1", &served));
        assert!(is_served("127.0.0.2", &served));

        fs::write(&rules, "allow 127.0.0.1\nallow everybody\n").unwrap();
        served.signal(Signal::SIGHUP);
        let line = served.wait_for_log("the rules from before stay in use");
        assert!(
            line.contains("rules:2: \"everybody\" is not a network"),
            "{line}"
        );
        assert!(!is_served("127.0.0.1", &served));
        assert!(is_served("127.0.0.2", &served));

        fs::remove_file(&rules).unwrap();
        served.signal(Signal::SIGHUP);
        served.wait_for_log("the rules from before stay in use");
        assert!(is_served("127.0.0.2", &served));
        served.stop();
    }
}

#[test]
fn no_more_clients_than_the_rate_come_in_its_time() {
    let served = Served::start("echo", LOOPBACK, &["--rate", "3/3600"]);
    for _ in 0..3 {
        assert!(is_served("127.0.0.1", &served));
    }
    assert!(!is_served("127.0.0.1", &served));
    served.stop();
}

#[test]
fn a_client_above_a_limit_is_sent_the_text() {
    for limit in ["--max-connections", "--max-connections-per-address"] {
        let options = [limit, "1", "--refuse-with", "busy\r\n"];
        let served = Served::start("echo", LOOPBACK, &options);
        let mut first = served.connect();
        assert_eq!(exchange(&mut first, b"hello", 5), b"hello");
        assert_eq!(rest(served.connect()), b"busy\r\n", "{limit}");
        assert_eq!(exchange(&mut first, b"again", 5), b"again");
        served.stop();
    }
}

#[test]
fn what_cannot_be_an_admission_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules");
    fs::write(&rules, "allow 127.0.0.1\npermit 127.0.0.2\n").unwrap();
    let rules = rules.to_str().unwrap();
    for (arguments, status, expected) in [
        (["--allow", "10.0.0.1/8"], 2, "write 10.0.0.0/8"),
        (["--deny", "example.org"], 2, "is not a network"),
        (["--rate", "0"], 2, "is not a rate"),
        (
            ["--rules", "/missing/rules"],
            1,
            "cannot read the rules in /missing/rules",
        ),
        (["--rules", rules], 1, "rules:2: \"permit\" is neither"),
    ] {
        let serve = ["serve", "echo", "--listen", LOOPBACK];
        let output = socketserver(&[&serve[..], &arguments].concat())
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let unix = [
        "serve",
        "echo",
        "--listen",
        "unix:///nowhere/socket",
        "--allow",
        "127.0.0.1",
    ];
    let output = socketserver(&unix).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("--socket-mode"), "{message}");
}
