//! An authenticated link before a handler, as the tutorial's client and other clients use it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::Sha256;
use tempfile::NamedTempFile;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

const KEY: &[u8] = b"Jedan has a big key!";
const LOOPBACK: &str = "tcp://127.0.0.1:0";

/// A file with this content, which its owner alone may read.
fn key_file(content: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// The 32 bytes that the server sends.
fn challenge(client: &mut impl Read) -> [u8; 32] {
    let mut challenge = [0; 32];
    client.read_exact(&mut challenge).unwrap();
    challenge
}

/// The answer of the tutorial's client: `hmac.new(KEY, challenge).digest()`, 16 bytes.
fn md5_answer(challenge: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Md5>::new_from_slice(KEY).unwrap();
    mac.chain_update(challenge).finalize().into_bytes().to_vec()
}

fn sha256_answer(challenge: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.chain_update(challenge).finalize().into_bytes().to_vec()
}

#[test]
fn the_tutorial_s_client_is_accepted_and_answered_in_upper_case_until_it_closes() {
    let file = key_file(b"Jedan has a big key!\n");
    let options = ["--auth-key-file", path(&file), "--auth-digest", "md5"];
    let served = Served::start("upper-loop", LOOPBACK, &options);
    let mut client = served.connect();
    let answer = md5_answer(&challenge(&mut client));
    assert_eq!(answer.len(), 16);
    client.write_all(&answer).unwrap();
    assert_eq!(exchange(&mut client, b"hello", 5), b"HELLO");
    assert_eq!(exchange(&mut client, b"nice day", 8), b"NICE DAY");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"");
    served.stop();
}

#[test]
fn the_digest_is_sha256_unless_set_and_what_follows_the_answer_is_the_handler_s() {
    let file = key_file(KEY);
    for mixin in ["threading", "forking", "pool", "none"] {
        let options = ["--auth-key-file", path(&file), "--mixin", mixin];
        let served = Served::start("upper", LOOPBACK, &options);
        let mut client = served.connect();
        let mut sent = sha256_answer(&challenge(&mut client));
        sent.extend(b"hello\n");
        client.write_all(&sent).unwrap();
        assert_eq!(rest(client), b"HELLO", "{mixin}");
        served.stop();
    }
}

fn is_closed_without_a_byte(mut client: TcpStream) {
    let mut received = Vec::new();
    match client.read_to_end(&mut received) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert_eq!(received, b"");
}

#[test]
fn a_wrong_answer_is_closed_and_logged_with_the_address() {
    let file = key_file(KEY);
    let options = ["--auth-key-file", path(&file)];
    let mut served = Served::start("upper-loop", LOOPBACK, &options);
    let mut client = served.connect();
    let address = client.local_addr().unwrap().to_string();
    challenge(&mut client);
    client.write_all(&[7; 32]).unwrap();
    let line = served.wait_for_log("answer to the challenge is wrong");
    assert!(line.contains(&address), "{line}");
    is_closed_without_a_byte(client);
    served.stop();
}

#[test]
fn a_short_answer_is_closed_and_logged_with_the_address() {
    let file = key_file(KEY);
    let options = ["--auth-key-file", path(&file)];
    let mut served = Served::start("upper-loop", LOOPBACK, &options);
    let mut client = served.connect();
    let address = client.local_addr().unwrap().to_string();
    let answer = sha256_answer(&challenge(&mut client));
    client.write_all(&answer[..31]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let line = served.wait_for_log("31 of 32 bytes");
    assert!(line.contains(&address), "{line}");
    is_closed_without_a_byte(client);
    served.stop();
}

#[test]
fn a_client_does_not_get_more_time_to_answer_than_any_has() {
    let file = key_file(KEY);
    let options = ["--auth-key-file", path(&file), "--idle-timeout", "0.3"];
    let mut served = Served::start("upper-loop", LOOPBACK, &options);
    let mut client = served.connect();
    challenge(&mut client);
    assert_eq!(rest(client), b"");
    let line = served.wait_for_log("of 32 bytes");
    assert!(line.contains("within 300ms"), "{line}");
    served.stop();
}

#[test]
fn the_link_goes_before_any_handler_over_a_unix_socket_too() {
    let file = key_file(KEY);
    let directory = support::short_paths::directory();
    let socket = directory.path().join("socket");
    let url = format!("unix://{}", socket.display());
    let served = Served::start("time", &url, &["--auth-key-file", path(&file)]);
    let mut client = UnixStream::connect(&socket).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    let answer = sha256_answer(&challenge(&mut client));
    client.write_all(&answer).unwrap();
    assert_eq!(exchange(&mut client, b"plain text\n", 11), b"plain text\n");
    drop(client);
    served.stop();
}

/// The message of a command line that is refused, and the exit status.
fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = socketserver(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), message)
}

#[test]
fn options_of_a_link_that_make_no_sense_are_refused() {
    let file = key_file(KEY);
    let udp = ["serve", "time", "--listen", "udp://127.0.0.1:0"];
    let (status, message) = refusal(&[&udp[..], &["--auth-key-file", path(&file)]].concat());
    assert_eq!(status, Some(2));
    assert!(
        message.contains("--auth-key-file is for connections"),
        "{message}"
    );
    let (status, message) = refusal(&["serve", "upper", "--auth-digest", "md5"]);
    assert_eq!(status, Some(2));
    assert!(message.contains("--auth-key-file"), "{message}");
}

#[test]
fn a_key_file_that_cannot_be_used_is_refused_with_its_path() {
    let empty = key_file(b"\n");
    for (file, reason) in [
        (path(&empty), "the key is empty"),
        ("/nowhere/key", "cannot read"),
    ] {
        let arguments = [
            "serve",
            "upper",
            "--listen",
            LOOPBACK,
            "--auth-key-file",
            file,
        ];
        let (status, message) = refusal(&arguments);
        assert_eq!(status, Some(1), "{message}");
        assert!(
            message.contains(file) && message.contains(reason),
            "{message}"
        );
    }
}
