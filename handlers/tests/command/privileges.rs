//! `socketserver serve … --user`. Only the superuser can become another user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::served::{Served, exchange, socketserver};

/// The number of `nobody`.
const NOBODY: u32 = 65_534;

pub fn is_superuser() -> bool {
    let is = nix::unistd::geteuid().is_root();
    if !is {
        println!("skipped: only the superuser can become another user");
    }
    is
}

/// The line of each thread's status that begins with `name`, without the name.
fn of_each_thread(process: u32, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let line = |thread: std::io::Result<fs::DirEntry>| {
        // A thread of the start may end meanwhile.
        let status = fs::read_to_string(thread.ok()?.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(Vec::from_iter(line.split_whitespace()).join(" "))
    };
    threads.filter_map(line).collect()
}

#[test]
fn with_each_mix_in_every_thread_gives_up_every_right_of_root_before_the_first_client() {
    if !is_superuser() {
        return;
    }
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        let options = ["--user", "65534:65533", "--mixin", mixin];
        let served = Served::start("echo", "tcp://127.0.0.1:0", &options);
        let of = |name| of_each_thread(served.process_id(), name);
        let is = |lines: &[String], expected: &str| lines.iter().all(|line| line == expected);
        assert!(
            is(&of("Uid:"), "65534 65534 65534 65534"),
            "{:?}",
            of("Uid:")
        );
        assert!(
            is(&of("Gid:"), "65533 65533 65533 65533"),
            "{:?}",
            of("Gid:")
        );
        assert!(
            of("Groups:")
                .iter()
                .all(|it| !it.split(' ').any(|it| it == "0"))
        );
        for capabilities in ["CapPrm:", "CapEff:", "CapAmb:"] {
            assert!(is(&of(capabilities), "0000000000000000"), "{capabilities}");
        }
        let mut client = served.connect();
        assert_eq!(exchange(&mut client, b"hello", 5), b"hello", "{mixin}");
        drop(client);
        served.stop();
    }
}

#[test]
fn the_programs_of_a_handler_run_as_the_user() {
    if !is_superuser() {
        return;
    }
    let options = [
        "--user",
        "65534:65533",
        "--framing",
        "raw",
        "--serve-any-user",
    ];
    let served = Served::start("shell", "tcp://127.0.0.1:0", &options);
    let mut client = served.connect();
    assert_eq!(
        exchange(&mut client, b"id -u; id -g", 12),
        b"65534\n65533\n"
    );
    drop(client);
    served.stop();
}

#[test]
fn a_port_that_is_for_root_is_bound_before() {
    if !is_superuser() {
        return;
    }
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    let Ok(first @ 2..) = first.trim().parse::<u16>() else {
        println!("skipped: every user may bind every port here");
        return;
    };
    // A loopback address that no other test has, and a port that no service has there.
    let url = format!("tcp://127.47.11.3:{}", first - 1);
    let served = Served::start("echo", &url, &["--user", "65534:65534"]);
    assert_eq!(exchange(&mut served.connect(), b"hello", 5), b"hello");
    served.stop();
}

#[test]
fn a_program_that_is_not_root_prints_an_error_and_binds_nothing() {
    if !is_superuser() {
        let output = socketserver(&["serve", "echo", "--user", "65534:65534"])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("only root can"), "{message}");
        return;
    }
    let directory = support::short_paths::directory();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("socketserver");
    fs::copy(env!("CARGO_BIN_EXE_socketserver"), &program).unwrap();
    let output = Command::new(program)
        .args([
            "serve",
            "echo",
            "--listen",
            "tcp://127.0.0.1:0",
            "--user",
            "12345:12345",
        ])
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("only root can"), "{message}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_user_that_cannot_be_meant_is_refused() {
    for (user, expected) in [
        ("root", "root"),
        ("no-such-user", "no user"),
        ("1:none", "no group"),
    ] {
        let output = socketserver(&["serve", "echo", "--user", user])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}
