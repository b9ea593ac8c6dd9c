//! A program that has the socket itself.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};

use super::{LOOPBACK, began, exec, script};
use crate::client::Client;
use crate::served::{exchange, rest, socketserver};

#[test]
fn with_each_mix_in_a_program_serves_its_client_until_either_ends() {
    for mixin in ["threading", "none", "forking", "pool", "reactor"] {
        let served = exec(LOOPBACK, &["--mixin", mixin], &["cat"]);
        for _ in 0..2 {
            let mut client = served.connect();
            assert_eq!(exchange(&mut client, b"hello", 5), b"hello", "{mixin}");
            assert_eq!(exchange(&mut client, b"again", 5), b"again", "{mixin}");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(client), b"", "{mixin}");
        }
        served.stop();
    }
}

#[test]
fn clients_are_served_beside_one_another_with_each_mix_in_that_can() {
    for mixin in ["threading", "forking", "pool", "reactor"] {
        let served = exec(LOOPBACK, &["--mixin", mixin], &["cat"]);
        let mut clients = [(); 3].map(|()| served.connect());
        for client in clients.iter_mut().rev() {
            assert_eq!(exchange(client, b"hello", 5), b"hello", "{mixin}");
        }
        drop(clients);
        served.stop();
    }
}

#[test]
fn both_descriptors_are_the_blocking_socket_itself() {
    let program = "import os, socket, stat\n\
        one, two = os.fstat(0), os.fstat(1)\n\
        client = socket.socket(fileno=os.dup(0))\n\
        print(one.st_ino == two.st_ino, stat.S_ISSOCK(one.st_mode), os.get_blocking(0),\n\
              client.getpeername()[1], client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO),\n\
              flush=True)\n";
    let served = exec(LOOPBACK, &[], &["python3", "-c", program]);
    let client = served.connect();
    let port = client.local_addr().unwrap().port();
    let expected = format!("True True True {port} 0\n");
    assert_eq!(String::from_utf8(rest(client)).unwrap(), expected);
    served.stop();
}

#[test]
fn the_connection_ends_with_the_program_whatever_it_leaves_behind() {
    let mut served = script(&[], "echo done; sleep 1000 & echo began $! >&2; exit 3");
    assert_eq!(rest(served.connect()), b"done\n");
    let left = began(&mut served);
    let line = served.wait_for_log("ended: ");
    assert!(line.contains("sh["), "{line}");
    assert!(line.contains("ended: status 3, after "), "{line}");
    kill(left, Signal::SIGKILL).unwrap();
    served.stop();
}

#[test]
fn a_program_that_leaves_its_input_unread_still_answers_its_client() {
    let served = script(&[], "head -c 3 >/dev/null; echo enough");
    let mut client = served.connect();
    client.write_all(&[b'x'; 100_000]).unwrap();
    assert_eq!(rest(client), b"enough\n");
    served.stop();
}

#[test]
fn over_a_unix_socket_a_program_has_the_socket_too() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let url = format!("unix://{}", path.display());
    let served = exec(&url, &[], &["cat"]);
    let mut client = UnixStream::connect(&path).unwrap();
    assert_eq!(exchange(&mut client, b"hello", 5), b"hello");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"");
    served.stop();
}

#[test]
fn a_program_behind_a_key_serves_the_clients_that_know_it() {
    let directory = support::short_paths::directory();
    let key = directory.path().join("key");
    std::fs::write(&key, "secret").unwrap();
    let guarded = ["--auth-key-file", key.to_str().unwrap()];
    let served = exec(LOOPBACK, &guarded, &["cat"]);
    let arguments = [&["echo", served.url()], &guarded[..]].concat();
    let ended = Client::run(&arguments, "hello\nagain\n");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.screen, "hello\nagain\n");
    let mut stranger = served.connect();
    stranger.write_all(&[b'x'; 32]).unwrap();
    // The challenge, and nothing of the program.
    assert_eq!(rest(stranger).len(), 32);
    served.stop();
}

#[test]
fn a_client_that_inetd_has_accepted_has_its_program() {
    let (mut client, accepted) = UnixStream::pair().unwrap();
    let mut command = socketserver(&["exec", "--inetd", "cat"]);
    command.stdin(OwnedFd::from(accepted));
    let mut process = command.spawn().unwrap();
    drop(command);
    assert_eq!(exchange(&mut client, b"hello", 5), b"hello");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"");
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_banner_comes_before_everything_that_the_program_writes() {
    for count in [None, Some("--count")] {
        let options = Vec::from_iter(["--banner", "welcome\r\n"].into_iter().chain(count));
        let served = script(&options, "echo first");
        assert_eq!(rest(served.connect()), b"welcome\r\nfirst\n");
        served.stop();
    }
}

#[test]
fn standard_error_is_in_the_log_line_by_line_with_the_client() {
    let mut served = script(&[], "echo one >&2; printf 'tw\\033o' >&2; echo fine");
    let client = served.connect();
    let address = client.local_addr().unwrap().to_string();
    assert_eq!(rest(client), b"fine\n");
    let one = served.wait_for_log("one");
    assert!(one.contains(&format!("{address}: sh[")), "{one}");
    assert!(one.ends_with("]: one\n"), "{one}");
    let two = served.wait_for_log("tw");
    assert!(two.ends_with("]: tw\\u{1b}o\n"), "{two}");
    let end = served.wait_for_log("ended: ");
    assert!(end.contains(&address), "{end}");
    served.stop();
}

#[test]
fn a_program_begins_with_no_signal_blocked_or_ignored() {
    let served = script(&[], "grep -E '^Sig(Blk|Ign)' /proc/self/status");
    let status = String::from_utf8(rest(served.connect())).unwrap();
    let masks = status.lines().map(|line| line.split_whitespace().last());
    let mask = |mask: Option<&str>| u64::from_str_radix(mask.unwrap(), 16).unwrap();
    let ignored = masks.clone().next_back().flatten();
    assert_eq!(mask(masks.clone().next().flatten()), 0, "{status}");
    // What the program that has started the server ignores, its programs ignore too.
    let pipe = 1 << (Signal::SIGPIPE as i32 - 1);
    assert_eq!(mask(ignored) & pipe, 0, "{status}");
    served.stop();
}
