//! What every server of the command offers, with programs: metrics, shards, a user, and sockets
//! that somebody else has opened.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use support::short_paths::directory;

use super::{LOOPBACK, exec, script};
use crate::metrics::{AT_ANY_PORT, Metrics};
use crate::privileges::is_superuser;
use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};
use crate::systemd::pass;

const MIX_INS: [&str; 4] = ["threading", "forking", "pool", "reactor"];

#[test]
fn with_each_mix_in_the_metrics_count_the_connections_and_the_bytes_that_are_relayed() {
    for mixin in MIX_INS {
        for counted in [false, true] {
            let mut arguments = [&["exec", "--listen", LOOPBACK], &AT_ANY_PORT[..]].concat();
            arguments.extend(["--mixin", mixin]);
            arguments.extend(counted.then_some("--count"));
            arguments.extend(["--", "sh", "-c", "cat; exit 3"]);
            let mut served = Served::run(socketserver(&arguments));
            let metrics = Metrics::of(&mut served);
            let mut client = served.connect();
            assert_eq!(exchange(&mut client, b"hello", 5), b"hello", "{mixin}");
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(rest(client), b"", "{mixin}");
            let listener = format!("listener=\"{}\"", served.url());
            // The status of a program is no failure of its connection.
            metrics.wait_for(&format!(
                "socketserver_connections_ended_total{{{listener},outcome=\"finished\"}} 1"
            ));
            let bytes = if counted { 5 } else { 0 };
            for direction in ["received", "sent"] {
                metrics.wait_for(&format!(
                    "socketserver_{direction}_bytes_total{{{listener}}} {bytes}"
                ));
            }
            served.stop();
        }
    }
}

#[test]
fn with_each_mix_in_every_shard_runs_programs() {
    for mixin in MIX_INS {
        let served = exec(LOOPBACK, &["--shards", "3", "--mixin", mixin], &["cat"]);
        // Each client has a port of its own, of which the kernel takes the shard.
        let mut clients = Vec::from_iter((0..12).map(|_| served.connect()));
        for (number, client) in (0..).zip(&mut clients) {
            client.write_all(&[number]).unwrap();
            // A shard may have more clients than it serves at a time.
            client.shutdown(Shutdown::Write).unwrap();
        }
        for (number, client) in (0..).zip(clients) {
            assert_eq!(rest(client), [number], "{mixin}");
        }
        served.stop();
    }
}

#[test]
fn with_each_mix_in_programs_run_as_the_user_over_connections_and_datagrams() {
    if !is_superuser() {
        return;
    }
    for mixin in MIX_INS {
        let options = ["--user", "65534:65533", "--mixin", mixin];
        for count in [None, Some("--count")] {
            let options = Vec::from_iter(options.into_iter().chain(count));
            let served = script(&options, "id -u; id -g; id -G");
            assert_eq!(rest(served.connect()), b"65534\n65533\n65533\n", "{mixin}");
            served.stop();
        }
    }
    let options = ["--user", "65534:65533"];
    let served = exec("udp://127.0.0.1:0", &options, &["id", "-u"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(b"", served.address()).unwrap();
    let mut answer = [0; 20];
    let length = client.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"65534\n");
    served.stop();
}

#[test]
fn a_program_that_the_user_must_not_execute_costs_its_client_the_connection() {
    if !is_superuser() {
        return;
    }
    let directory = directory();
    let program = directory.path().join("program");
    std::fs::write(&program, "#!/bin/sh\necho fine\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    let options = ["--user", "65534:65533"];
    let mut served = exec(LOOPBACK, &options, &[program.to_str().unwrap()]);
    assert_eq!(rest(served.connect()), b"");
    let line = served.wait_for_log("cannot start ");
    assert!(line.contains("ermission denied"), "{line}");
    served.stop();
}

#[test]
fn sockets_that_were_passed_reach_programs_as_connections_alone() {
    let directory = directory();
    let path = directory.path().join("socket");
    // The descriptors of the program, with what `ls` opens itself and the test has inherited.
    let count = "ls /proc/self/fd | wc -l";
    let outside = Command::new("sh").args(["-c", count]).output().unwrap();
    let expected = [b"0\n", &outside.stdout[..], b"hello"].concat();
    let list = format!("env | grep -c ^LISTEN_; {count}; cat");
    for mixin in MIX_INS {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let _ = std::fs::remove_file(&path);
        let unix = UnixListener::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp_address = udp.local_addr().unwrap();
        let sockets: Vec<OwnedFd> = vec![tcp.into(), unix.into(), udp.into()];
        let mut command = socketserver(&["exec", "--mixin", mixin]);
        for name in ["fd://web", "fd://local", "fd://datagrams"] {
            command.args(["--listen", name]);
        }
        command.args(["--", "sh", "-c", &list]);
        pass(&mut command, sockets, "web:local:datagrams");
        let mut served = Served::run(command);
        let (unix, udp) = (served.next_url(), served.next_url());
        assert!(unix.starts_with("unix://"), "{unix}");
        assert!(udp.starts_with("udp://"), "{udp}");
        let mut client = served.connect();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(client), expected, "{mixin}");
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, expected, "{mixin}");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.send_to(b"hello", udp_address).unwrap();
        let mut answer = [0; 20];
        let length = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..length], expected, "{mixin}");
        served.stop();
    }
}
