//! The health checks of a load balancer leave no line at the default level of the log.

use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use socket2::SockRef;

use crate::served::Served;

/// Connects and leaves without a word, in good order and with a reset.
fn check(served: &Served) {
    for resets in [false, true] {
        let client = TcpStream::connect(served.address()).unwrap();
        if resets {
            let socket = SockRef::from(&client);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

fn leaves_no_line(handler: &str, options: &[&str]) {
    let served = Served::start(handler, "tcp://127.0.0.1:0", options);
    for _ in 0..3 {
        check(&served);
    }
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{handler} {options:?}: {log}");
    let lines = log.lines().filter(|line| !line.contains("stopp"));
    assert_eq!(lines.collect::<Vec<_>>(), [""; 0], "{handler} {options:?}");
}

#[test]
fn a_health_check_of_any_handler_leaves_no_line() {
    for handler in [
        "echo",
        "upper",
        "upper-loop",
        "greeting",
        "hello",
        "time",
        "shell",
    ] {
        leaves_no_line(handler, &[]);
    }
}

#[test]
fn a_health_check_leaves_no_line_with_any_mix_in() {
    for mixin in ["none", "threading", "forking", "pool"] {
        leaves_no_line("upper", &["--mixin", mixin]);
        leaves_no_line("time", &["--mixin", mixin]);
    }
}

#[test]
fn a_health_check_of_an_authenticated_server_leaves_no_line() {
    let directory = support::short_paths::directory();
    let key = directory.path().join("key");
    std::fs::write(&key, "Jedan has a big key!").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, mode).unwrap();
    leaves_no_line("upper", &["--auth-key-file", key.to_str().unwrap()]);
}
