//! A program whose bytes are relayed.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use nix::sys::signal::{Signal, kill};

use super::{LOOPBACK, began, exec, script};
use crate::served::{Served, exchange, rest};

fn counted(program: &str) -> Served {
    script(&["--count"], program)
}

#[test]
fn with_each_mix_in_bytes_are_carried_both_ways_and_counted() {
    for mixin in ["threading", "none", "forking", "pool", "reactor"] {
        let mut served = exec(LOOPBACK, &["--count", "--mixin", mixin], &["cat"]);
        let mut client = served.connect();
        assert_eq!(exchange(&mut client, b"hello", 5), b"hello", "{mixin}");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(client), b"", "{mixin}");
        let line = served.wait_for_log("ended: ");
        assert!(line.contains("status 0, after "), "{line}");
        assert!(line.contains(", 5 bytes received, 5 sent"), "{line}");
        served.stop();
    }
}

#[test]
fn a_half_close_is_passed_on_to_the_program_and_by_the_program() {
    // The program ends its output first, and still reads.
    let program = "import os, socket, sys\n\
        side = socket.socket(fileno=os.dup(1))\n\
        os.write(1, b'greeting')\n\
        side.shutdown(socket.SHUT_WR)\n\
        read = sys.stdin.buffer.read()\n\
        print(len(read), file=sys.stderr)\n";
    let mut served = exec(LOOPBACK, &["--count"], &["python3", "-c", program]);
    let mut client = served.connect();
    let mut greeting = Vec::new();
    client.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting, b"greeting");
    client.write_all(&[b'x'; 50_000]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let line = served.wait_for_log("50000");
    assert!(line.contains("python3["), "{line}");
    served.stop();
    // The client ends its side first, and still reads.
    let served = counted("cat >/dev/null; echo after the end");
    let mut client = served.connect();
    client.write_all(b"all").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"after the end\n");
    served.stop();
}

#[test]
fn more_than_every_buffer_holds_passes_in_both_directions_at_once() {
    const SIZE: usize = 3_000_000;
    let served = exec(LOOPBACK, &["--count"], &["cat"]);
    let mut client = served.connect();
    let mut sending = client.try_clone().unwrap();
    let sender = thread::spawn(move || {
        sending.write_all(&[b'x'; SIZE]).unwrap();
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    assert!(received == [b'x'; SIZE]);
    served.stop();
}

#[test]
fn a_program_that_ends_early_ends_the_connection_and_its_output_arrives() {
    let served = counted("head -c 3 >/dev/null; echo enough");
    let mut client = served.connect();
    client.write_all(&[b'x'; 100_000]).unwrap();
    // The client neither ends its side nor is waited for.
    assert_eq!(rest(&client), b"enough\n");
    served.stop();
}

#[test]
fn what_a_program_leaves_behind_does_not_hold_the_connection() {
    let mut served = counted("echo done; sleep 1000 & echo began $! >&2");
    assert_eq!(rest(served.connect()), b"done\n");
    kill(began(&mut served), Signal::SIGKILL).unwrap();
    served.stop();
}

#[test]
fn a_program_that_closes_its_side_and_runs_on_is_waited_for() {
    let program = "exec 0<&- 1>&-; sleep 0.1; echo later >&2; exit 7";
    let mut served = counted(program);
    assert_eq!(rest(served.connect()), b"");
    served.wait_for_log("later");
    served.wait_for_log("ended: status 7");
    served.stop();
}

#[cfg(feature = "proxy-protocol")]
#[test]
fn bytes_behind_the_header_of_a_proxy_are_not_lost_and_a_header_alone_costs_no_relay() {
    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 1000 443\r\n";
    let options = ["--proxy-protocol", "--trust", "127.0.0.1"];
    let program = "echo $REMOTE_ADDR:$REMOTE_PORT $TCPLOCALIP; cat";
    let mut served = script(&options, program);
    let expected = b"192.0.2.7:1000 198.51.100.1\nhello";
    let mut client = served.connect();
    client.write_all(&[HEADER, b"hello"].concat()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), expected);
    let line = served.wait_for_log("ended: ");
    assert!(line.contains("192.0.2.7:1000: sh["), "{line}");
    let mut client = served.connect();
    client.write_all(HEADER).unwrap();
    let mut first = [0; 28];
    client.read_exact(&mut first).unwrap();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!([&first[..], &rest(client)].concat(), expected);
    let line = served.wait_for_log("ended: ");
    assert!(!line.contains("bytes received"), "{line}");
    served.stop();
}

#[cfg(feature = "tls")]
#[test]
fn over_tls_a_program_speaks_in_the_clear_and_knows_the_session() {
    use std::process::{Command, Stdio};

    use support::certificates::Authority;
    let has_openssl = Command::new("openssl").arg("version").output().is_ok();
    if !has_openssl {
        println!("skipped: openssl is not installed");
        return;
    }
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let grace = authority.client("Grace");
    let ca = authority.file();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let options = [
        "--tls-cert",
        &text(&server.certificate),
        "--tls-key",
        &text(&server.key),
        "--tls-client-ca",
        &text(&ca),
    ];
    let program = "read line; echo got $line; echo $SSL_PROTOCOL; echo $SSL_CIPHER; \
                   echo $SSL_TLS_SNI_SERVERNAME; echo $SSL_CLIENT_S_DN; echo $PROTO";
    let served = script(&options, program);
    let address = served.address().to_string();
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-quiet", "-connect", &address]);
    openssl.args(["-servername", "localhost"]);
    openssl.args(["-CAfile", &text(&ca), "-verify_return_error"]);
    openssl.args(["-cert", &text(&grace.certificate)]);
    openssl.args(["-key", &text(&grace.key)]);
    openssl.stdin(Stdio::piped());
    openssl.stdout(Stdio::piped());
    openssl.stderr(Stdio::null());
    let mut client = openssl.spawn().unwrap();
    client
        .stdin
        .as_ref()
        .unwrap()
        .write_all(b"hello\n")
        .unwrap();
    // The session ends with the program.
    let output = String::from_utf8(rest(client.stdout.take().unwrap())).unwrap();
    drop(client.stdin.take());
    client.wait().unwrap();
    let lines = Vec::from_iter(output.lines());
    let [answer, protocol, cipher, name, subject, proto] = lines[..] else {
        panic!("{output}");
    };
    assert_eq!((answer, protocol), ("got hello", "TLSv1.3"));
    assert!(cipher.starts_with("TLS13_"), "{cipher}");
    assert_eq!((name, proto), ("localhost", "TCP"));
    assert!(subject.contains("CN=Grace"), "{subject}");
    served.stop();
}
