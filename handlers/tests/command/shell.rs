//! The shell, served over every transport, as the tutorial's clients use it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};

use crate::served::{SAFETY_NET, Served, exchange, rest};

const ANYWHERE: &str = "tcp://127.0.0.1:0";

fn serve(framing: &str) -> Served {
    Served::start("shell", ANYWHERE, &["--framing", framing])
}

/// Leaves, after every answer has come.
fn leave(client: TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(client), b"");
}

#[test]
fn without_a_frame_the_answer_is_what_the_command_wrote() {
    let served = serve("raw");
    let mut client = served.connect();
    let answer = exchange(&mut client, b"echo hi; echo oops >&2", 8);
    assert_eq!(answer, b"oops\nhi\n");
    assert_eq!(
        exchange(&mut client, "echo 你好".as_bytes(), 7),
        "你好\n".as_bytes()
    );
    leave(client);
    served.stop();
}

#[test]
fn in_ready_framing_the_output_waits_until_the_client_has_the_length() {
    let served = serve("ready");
    let mut client = served.connect();
    for _ in 0..2 {
        assert_eq!(exchange(&mut client, b"echo hi; echo oops >&2", 1), b"8");
        // No output comes before `recv_ready`.
        client.set_nonblocking(true).unwrap();
        let nothing = client.peek(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        client.set_nonblocking(false).unwrap();
        assert_eq!(exchange(&mut client, b"recv_ready", 8), b"oops\nhi\n");
    }
    leave(client);
    served.stop();
}

#[test]
fn in_header_framing_four_bytes_have_the_length() {
    let served = serve("header");
    let mut client = served.connect();
    for _ in 0..2 {
        let answer = exchange(&mut client, b"echo hi; echo oops >&2", 12);
        assert_eq!(answer, b"\x08\0\0\0oops\nhi\n");
    }
    leave(client);
    served.stop();
}

#[test]
fn by_default_a_json_object_has_the_length() {
    let served = Served::start("shell", ANYWHERE, &[]);
    let mut client = served.connect();
    for _ in 0..2 {
        let answer = exchange(&mut client, b"echo hi; echo oops >&2", 27);
        assert_eq!(answer, b"\x0f\0\0\0{\"data_size\":8}oops\nhi\n");
    }
    leave(client);
    served.stop();
}

#[test]
fn with_every_mix_in_both_outputs_may_be_longer_than_a_pipe_holds() {
    for mixin in ["none", "threading", "forking", "pool"] {
        let options = ["--framing", "header", "--mixin", mixin];
        let served = Served::start("shell", ANYWHERE, &options);
        let mut client = served.connect();
        for _ in 0..2 {
            let command = b"head -c 200000 /dev/zero >&2; head -c 100000 /dev/zero";
            let answer = exchange(&mut client, command, 300_004);
            assert_eq!(answer[..4], 300_000_u32.to_le_bytes(), "{mixin}");
        }
        leave(client);
        served.stop();
    }
}

#[test]
fn a_datagram_is_a_command_and_its_output_comes_back_in_one() {
    let served = Served::start("shell", "udp://127.0.0.1:0", &[]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.connect(served.address()).unwrap();
    let ask = |command: &[u8]| {
        client.send(command).unwrap();
        let mut answer = vec![0; 65_536];
        let length = client.recv(&mut answer).unwrap();
        answer.truncate(length);
        answer
    };
    assert_eq!(ask(b"echo hi; echo oops >&2"), b"oops\nhi\n");
    assert_eq!(ask(b"true"), b"");
    assert_eq!(ask(b""), b"[not run: the command is empty]\n");
    assert!(ask(b"head -c 65507 /dev/zero") == [0; 65_507]);
    let cut = ask(b"head -c 65508 /dev/zero");
    assert!(cut.ends_with(b"\n[cut: 51 bytes did not fit into the datagram]\n"));
    served.stop();
}

#[test]
fn it_is_served_over_unix_sockets_too() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("shell");
    let url = format!("unix://{}", path.display());
    let served = Served::start("shell", &url, &["--framing", "raw"]);
    let mut client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    assert_eq!(exchange(&mut client, b"echo hi", 3), b"hi\n");
    served.stop();

    let url = format!("unixgram://{}", path.display());
    let served = Served::start("shell", &url, &[]);
    let client = UnixDatagram::bind(directory.path().join("client")).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.connect(&path).unwrap();
    client.send(b"head -c 70000 /dev/zero").unwrap();
    let mut answer = vec![0; 70_000];
    let length = client.recv(&mut answer).unwrap();
    let last_line = b" bytes did not fit into the datagram]\n";
    assert!(length <= 65_507 && answer[..length].ends_with(last_line));
    served.stop();
}

#[test]
fn every_command_and_what_was_refused_is_logged_with_the_client_s_address() {
    let mut served = serve("raw");
    let mut client = served.connect();
    let address = client.local_addr().unwrap();
    assert_eq!(exchange(&mut client, b"echo hi\n", 3), b"hi\n");
    let line = served.wait_for_log("runs");
    let expected = format!("{address} runs \"echo hi\\n\"");
    assert!(line.contains(&expected), "{line}");
    let refusal = b"[not run: the command is empty]\n";
    assert_eq!(exchange(&mut client, b" ", refusal.len()), refusal);
    let line = served.wait_for_log("not run");
    let expected = format!("{address}: [not run: the command is empty]");
    assert!(line.contains(&expected), "{line}");
    served.stop();
}

#[test]
fn commands_leave_no_descriptor_thread_or_process_behind() {
    let served = serve("header");
    let mut client = served.connect();
    let server = served.process_id();
    let count = |what: &str| {
        let entries = std::fs::read_dir(format!("/proc/{server}/{what}"));
        entries.unwrap().count()
    };
    let children = || {
        let path = format!("/proc/{server}/task/{server}/children");
        std::fs::read_to_string(path).unwrap()
    };
    assert_eq!(exchange(&mut client, b"echo a", 6), b"\x02\0\0\0a\n");
    let before = (count("fd"), count("task"));
    for _ in 0..50 {
        assert_eq!(
            exchange(&mut client, b"sleep 9 & echo a", 6),
            b"\x02\0\0\0a\n"
        );
    }
    assert_eq!((count("fd"), count("task")), before);
    assert_eq!(children(), "");
    served.stop();
}

#[test]
fn a_stopping_server_lets_the_command_end_and_sends_its_answer() {
    let directory = support::short_paths::directory();
    let path = |name: &str| directory.path().join(name);
    let mut served = serve("raw");
    let mut client = served.connect();
    let command = format!(
        "mkfifo '{0}/end'; echo begun > '{0}/begin'; cat '{0}/end'",
        directory.path().display()
    );
    let made = std::process::Command::new("mkfifo")
        .arg(path("begin"))
        .status();
    assert!(made.unwrap().success());
    client.write_all(command.as_bytes()).unwrap();
    assert_eq!(std::fs::read(path("begin")).unwrap(), b"begun\n");
    served.signal(nix::sys::signal::Signal::SIGTERM);
    served.wait_for_log("stopping");
    std::fs::write(path("end"), b"all of it\n").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"all of it\n");
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}

/// Some programs ignore `SIGCHLD`, and the programs that they start inherit that.
#[test]
fn a_server_whose_children_the_system_reaps_answers_like_any_other() {
    let mut command = std::process::Command::new("env");
    command.arg("--ignore-signal=CHLD");
    command.arg(env!("CARGO_BIN_EXE_socketserver"));
    command.args(["serve", "shell", "--listen", ANYWHERE, "--framing", "raw"]);
    let served = Served::run(command);
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.process_id())).unwrap();
    let mut lines = status.lines();
    let ignored = lines.find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let bit = nix::sys::signal::Signal::SIGCHLD as i32 - 1;
    assert_eq!(ignored >> bit & 1, 1, "SIGCHLD is not ignored");

    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"echo a", 2), b"a\n");
    leave(client);
    served.stop();
}
