//! The environment of a program.

use std::io::Read;
use std::os::unix::net::UnixStream;

use super::{LOOPBACK, exec};
use crate::served::{Served, has_ipv6, rest, socketserver};

/// The environment of a program for this client.
fn environment(client: impl Read) -> Vec<String> {
    let text = String::from_utf8(rest(client)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn value<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    let mut values = environment.iter();
    values.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn a_program_over_tcp_knows_both_addresses() {
    for (url, ip) in [(LOOPBACK, "127.0.0.1"), ("tcp://[::1]:0", "::1")] {
        if ip == "::1" && !has_ipv6() {
            continue;
        }
        let served = exec(url, &[], &["env"]);
        let client = served.connect();
        let port = client.local_addr().unwrap().port().to_string();
        let own = served.address().port().to_string();
        let environment = environment(client);
        for (name, expected) in [
            ("PROTO", "TCP"),
            ("TCPREMOTEIP", ip),
            ("TCPREMOTEPORT", &port),
            ("TCPLOCALIP", ip),
            ("TCPLOCALPORT", &own),
            ("REMOTE_ADDR", ip),
            ("REMOTE_PORT", &port),
        ] {
            assert_eq!(value(&environment, name), Some(expected), "{name}");
        }
        assert_eq!(value(&environment, "REMOTE_HOST"), None);
        served.stop();
    }
}

#[test]
fn a_program_over_a_unix_socket_knows_the_process_of_its_client() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let served = exec(&format!("unix://{}", path.display()), &[], &["env"]);
    let environment = environment(UnixStream::connect(&path).unwrap());
    let own = std::process::id().to_string();
    let user = nix::unistd::geteuid().to_string();
    let group = nix::unistd::getegid().to_string();
    for (name, expected) in [
        ("PROTO", "IPC"),
        ("IPCREMOTEPID", own.as_str()),
        ("IPCREMOTEEUID", &user),
        ("IPCREMOTEEGID", &group),
        ("IPCLOCALPATH", path.to_str().unwrap()),
    ] {
        assert_eq!(value(&environment, name), Some(expected), "{name}");
    }
    assert_eq!(value(&environment, "REMOTE_ADDR"), None);
    served.stop();
}

#[test]
fn nothing_of_the_server_s_own_and_of_another_client_is_passed_on() {
    let mut command = socketserver(&["exec", "--listen", LOOPBACK, "--", "env"]);
    command
        .env("NOTIFY_SOCKET", "/nowhere")
        .env("LISTEN_FDNAMES", "web")
        .env("WATCHDOG_USEC", "1000000000")
        .env("TCPREMOTEHOST", "other.example")
        .env("REMOTE_HOST", "other.example")
        .env("SSL_CLIENT_S_DN", "CN=root")
        .env("KEPT", "as it is");
    let served = Served::run(command);
    let environment = environment(served.connect());
    for name in [
        "NOTIFY_SOCKET",
        "LISTEN_FDNAMES",
        "WATCHDOG_USEC",
        "TCPREMOTEHOST",
        "REMOTE_HOST",
        "SSL_CLIENT_S_DN",
    ] {
        assert_eq!(value(&environment, name), None, "{name}");
    }
    assert_eq!(value(&environment, "KEPT"), Some("as it is"));
    served.stop();
}

#[test]
fn a_program_has_no_descriptor_of_the_server() {
    let list = "ls -l /proc/self/fd | grep -v '/proc/[0-9]*/fd$'";
    let outside = std::process::Command::new("sh").args(["-c", list]).output();
    let outside = String::from_utf8(outside.unwrap().stdout).unwrap();
    for options in [[].as_slice(), &["--count"], &["--mixin", "reactor"]] {
        let served = super::script(options, list);
        let _other = served.connect();
        let inside = String::from_utf8(rest(served.connect())).unwrap();
        // Both have the three streams, and what the test itself has inherited.
        let count = |list: &str| list.lines().filter(|line| line.contains("->")).count();
        assert_eq!(count(&inside), count(&outside), "{inside}{outside}");
        served.stop();
    }
}
