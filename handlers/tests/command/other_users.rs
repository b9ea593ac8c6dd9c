//! Handlers that run or send commands serve the user who has started them. The tests need the
//! superuser, who alone can run clients as another user.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::served::{SAFETY_NET, Served, exchange, socketserver};

/// The number of `nobody`.
const NOBODY: u32 = 65_534;

fn is_superuser() -> bool {
    let is = nix::unistd::geteuid().is_root();
    if !is {
        println!("skipped: only the superuser can run a client as another user");
    }
    is
}

/// The command, which another user may run too.
fn as_another_user(directory: &Path, arguments: &[&str]) -> Command {
    let program = directory.join("socketserver");
    if !program.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_socketserver"), &program).unwrap();
        let anybody = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(directory, anybody).unwrap();
    }
    let mut command = Command::new(program);
    command
        .args(arguments)
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/");
    command.env_remove("RUST_LOG");
    command
}

/// What a client of another user is answered to `echo hi`.
fn asked_by_another_user(arguments: &[&str]) -> String {
    let directory = support::short_paths::directory();
    let mut client = as_another_user(directory.path(), arguments);
    let client = client.args(["--timeout", "2"]).stdin(Stdio::piped());
    let client = client.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client: Child = client.spawn().unwrap();
    // The client may have left already.
    let _ = client.stdin.take().unwrap().write_all(b"echo hi\n");
    String::from_utf8(client.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_client_of_another_user_runs_nothing_over_any_transport() {
    if !is_superuser() {
        return;
    }
    let directory = support::short_paths::directory();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = |name| directory.path().join(name).display().to_string();
    for url in [
        "tcp://127.0.0.1:0".to_owned(),
        "udp://127.0.0.1:0".to_owned(),
        format!("unix://{}", path("stream")),
        format!("unixgram://{}", path("datagram")),
    ] {
        let mut served = Served::start("shell", &url, &[]);
        assert_eq!(
            asked_by_another_user(&["client", "shell", served.url()]),
            "",
            "{url}"
        );
        if url.starts_with("tcp") || url.starts_with("udp") {
            served.wait_for_log("refused: the peer's user is 65534");
        }
        served.stop();
    }
}

#[test]
fn a_client_of_another_user_is_served_where_that_is_asked_for() {
    if !is_superuser() {
        return;
    }
    for url in ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"] {
        let served = Served::start("shell", url, &["--serve-any-user"]);
        assert_eq!(
            asked_by_another_user(&["client", "shell", served.url()]),
            "hi\n"
        );
        served.stop();
    }
}

#[test]
fn an_operator_of_another_user_is_not_obeyed() {
    if !is_superuser() {
        return;
    }
    let directory = support::short_paths::directory();
    let arguments = [
        "serve",
        "operator",
        "--listen",
        "udp://127.0.0.1:0",
        "--serve-any-user",
    ];
    let mut serve = as_another_user(directory.path(), &arguments);
    let (keyboard, mut typist) = std::io::pipe().unwrap();
    serve.stdin(keyboard);
    typist.write_all(b"echo hi\n").unwrap();
    let served = Served::run(serve);
    let mut client = socketserver(&["client", "operated", served.url()]);
    let output = client.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("--obey-any-user"), "{message}");
}

#[test]
fn a_client_that_has_left_is_not_taken_for_the_superuser() {
    let mut served = Served::start("shell", "tcp://127.0.0.1:0", &["--mixin", "none"]);
    let mut busy = served.connect();
    // The server is at work, so the next client leaves before anybody looks for its user.
    busy.write_all(b"sleep 1000").unwrap();
    served.wait_for_log("runs");
    let mut left = served.connect();
    left.write_all(b"echo hi").unwrap();
    drop(left);
    drop(busy);
    served.wait_for_log("the user of the peer is unknown");
    served.stop();
}

#[test]
fn a_browser_s_request_runs_nothing_and_is_logged_as_an_attack() {
    let directory = support::short_paths::directory();
    let ran = directory.path().join("ran");
    let run = format!("touch$IFS{}", ran.display());
    let request = format!("GET /?;{run}; HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n");
    for framing in ["raw", "ready", "header", "json"] {
        let mut served = Served::start("shell", "tcp://127.0.0.1:0", &["--framing", framing]);
        let mut client = served.connect();
        client.write_all(request.as_bytes()).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
        served.wait_for_log("attack: the client speaks HTTP");
        byte_by_byte(served.address(), request.as_bytes());
        served.wait_for_log("attack: the client speaks HTTP");
        assert_eq!(exchange(&mut served.connect(), b"true", 0), b"");
        served.stop();
        assert!(!ran.exists(), "{framing}");
    }
}

/// Sends each byte in a segment of its own, until the server closes.
fn byte_by_byte(address: SocketAddr, request: &[u8]) {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    for byte in request {
        if client.write_all(&[*byte]).is_err() {
            return;
        }
        std::thread::yield_now();
    }
    let _ = rest_or_reset(client);
}

fn rest_or_reset(mut client: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    rest
}

#[test]
fn the_owner_of_a_datagram_s_socket_is_asked_for_each_datagram() {
    let served = Served::start("shell", "udp://127.0.0.1:0", &[]);
    for ip in ["127.0.0.1:0", "0.0.0.0:0", "127.9.9.9:0"] {
        let client = UdpSocket::bind(ip).unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.connect(served.address()).unwrap();
        client.send(b"echo hi").unwrap();
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 3, "{ip}");
    }
    served.stop();
}
