//! The environment of a program.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixStream;

use super::{LOOPBACK, exec};
use crate::served::{SAFETY_NET, Served, has_ipv6, rest, socketserver};

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
        for name in ["TCPREMOTEHOST", "TCPLOCALHOST", "REMOTE_HOST"] {
            assert_eq!(value(&environment, name), None);
        }
        served.stop();
    }
}

/// The first name of the loopback address in the hosts file, for tests that look up names.
fn name_of_loopback() -> Option<String> {
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let name = hosts.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| *word == "127.0.0.1")?;
        Some(words.next()?.to_ascii_lowercase())
    });
    if name.is_none() {
        println!("skipped: the hosts file has no name for 127.0.0.1");
    }
    name
}

#[test]
fn with_each_mix_in_a_program_knows_the_names_if_they_are_looked_up() {
    let Some(name) = name_of_loopback() else {
        return;
    };
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        let served = exec(LOOPBACK, &["--lookup", "--mixin", mixin], &["env"]);
        for _ in 0..2 {
            let environment = environment(served.connect());
            for variable in ["TCPREMOTEHOST", "TCPLOCALHOST"] {
                assert_eq!(value(&environment, variable), Some(&*name), "{mixin}");
            }
            assert_eq!(value(&environment, "TCPREMOTEIP"), Some("127.0.0.1"));
        }
        served.stop();
    }
}

#[test]
fn the_sender_of_a_datagram_has_a_name_too_and_a_client_over_a_unix_socket_none() {
    let Some(name) = name_of_loopback() else {
        return;
    };
    let served = exec("udp://127.0.0.1:0", &["--lookup=9"], &["env"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(b"", served.address()).unwrap();
    let mut answer = [0; 60_000];
    let length = client.recv(&mut answer).unwrap();
    let environment_of_udp = environment(&answer[..length]);
    for variable in ["UDPREMOTEHOST", "UDPLOCALHOST"] {
        assert_eq!(value(&environment_of_udp, variable), Some(&*name));
    }
    served.stop();
    let directory = support::short_paths::directory();
    let path = directory.path().join("socket");
    let url = format!("unix://{}", path.display());
    let served = exec(&url, &["--lookup"], &["env"]);
    let environment = environment(UnixStream::connect(&path).unwrap());
    for variable in ["TCPREMOTEHOST", "UDPREMOTEHOST", "IPCREMOTEHOST"] {
        assert_eq!(value(&environment, variable), None);
    }
    served.stop();
}

#[cfg(feature = "proxy-protocol")]
#[test]
fn behind_a_proxy_the_name_is_the_client_s_and_an_address_without_a_name_has_none() {
    let Some(name) = name_of_loopback() else {
        return;
    };
    // A test network, to which nobody has given names. Its resolver may be out of reach.
    let unknown = ["192.0.2.1", "192.0.2.7", "--lookup=0.1"];
    let known = ["127.0.0.1", "127.0.0.1", "--lookup=20"];
    for ([client, local, lookup], expected) in [(known, Some(&*name)), (unknown, None)] {
        let options = [lookup, "--proxy-protocol", "--trust", "127.0.0.1"];
        let served = exec(LOOPBACK, &options, &["env"]);
        let mut connection = served.connect();
        let header = format!("PROXY TCP4 {client} {local} 1234 80\r\n");
        connection.write_all(header.as_bytes()).unwrap();
        let environment = environment(connection);
        assert_eq!(value(&environment, "TCPREMOTEIP"), Some(client));
        assert_eq!(value(&environment, "TCPREMOTEHOST"), expected);
        assert_eq!(value(&environment, "TCPLOCALHOST"), expected);
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
        .env("LISTEN_PIDFDID", "4711")
        .env("SYSTEMD_EXEC_PID", "4711")
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
        "LISTEN_PIDFDID",
        "SYSTEMD_EXEC_PID",
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
