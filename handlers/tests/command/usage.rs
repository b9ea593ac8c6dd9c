//! Command lines and addresses that the command refuses, and the exit status.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use crate::served::socketserver;

/// Runs the command, which must fail with this status and print nothing to standard output. Returns
/// its message.
fn refused(arguments: &[&str], status: i32) -> String {
    let output = socketserver(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {message}"
    );
    assert!(output.stdout.is_empty(), "{arguments:?}");
    message
}

#[test]
fn an_unknown_handler_is_answered_with_the_known_ones() {
    let message = refused(&["serve", "uper"], 2);
    assert!(message.contains("'uper'"), "{message}");
    for name in ["echo", "upper", "upper-loop", "time", "greeting", "hello"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_transport_that_the_handler_does_not_speak_is_refused_by_name() {
    for (url, scheme) in [
        ("udp://127.0.0.1:0", "udp"),
        ("unixgram:///tmp/never-bound", "unixgram"),
    ] {
        let message = refused(&["serve", "upper", "--listen", url], 2);
        let expected = format!("upper does not run over {scheme}; choose one of: tcp unix\n");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_wrong_url_is_refused_with_the_reason() {
    for (url, reason) in [
        ("127.0.0.1:9999", "the URL has no scheme"),
        ("http://127.0.0.1:9999", "the scheme \"http\" is unknown"),
        ("tcp://127.0.0.1", "the port is missing"),
        ("tcp://127.0.0.1:65536", "the port 65536 is out of range"),
        ("tcp://127.0.0.1:http", "\"http\" is not a port"),
        ("tcp://:9999", "the host is missing"),
        ("tcp://::1", "the IPv6 address ::1 has no brackets"),
        ("unix://run/", "ends with a slash"),
        ("unix://", "the path is missing"),
    ] {
        let message = refused(&["serve", "upper", "--listen", url], 2);
        assert!(message.contains(reason), "{message}");
        assert!(message.contains(url), "{message}");
    }
}

#[test]
fn more_workers_than_the_system_has_threads_are_an_error_and_no_panic() {
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    if mappings
        .trim()
        .parse()
        .is_ok_and(|most: u32| most < 4 * 65_535)
    {
        let pool = ["serve", "upper", "--mixin", "pool", "--workers", "65535"];
        let output = socketserver(&[&pool[..], &["--listen", "tcp://127.0.0.1:0"]].concat());
        let output = { output }.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains("cannot start 65535 workers"), "{message}");
        assert!(!message.contains("panicked"), "{message}");
    } else {
        println!("skipped: the mappings of this system are enough for all workers");
    }
}

#[test]
fn workers_without_a_mix_in_that_has_them_are_refused() {
    for mixin in [&[][..], &["--mixin", "none"], &["--mixin", "threading"]] {
        let arguments = [&["serve", "upper", "--workers", "3"], mixin].concat();
        let message = refused(&arguments, 2);
        assert!(message.contains("--mixin pool"), "{message}");
    }
}

#[test]
fn a_wrong_number_of_workers_is_refused() {
    for number in ["0", "-1", "65536", "many", ""] {
        let workers = format!("--workers={number}");
        let message = refused(&["serve", "upper", "--mixin", "pool", &workers], 2);
        assert!(message.contains("--workers"), "{message}");
    }
}

#[test]
fn a_command_line_without_sense_has_status_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["listen"],
        &["list", "upper"],
        &["serve", "upper", "--mixin", "fibers"],
        &["serve", "upper", "--listen"],
        &["serve", "upper", "--unknown"],
    ] {
        refused(arguments, 2);
    }
}

#[test]
fn help_has_status_0_and_the_options() {
    let output = socketserver(&["serve", "--help"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let help = String::from_utf8(output.stdout).unwrap();
    for option in ["--listen <URL>", "--mixin <MIXIN>", "--workers <N>"] {
        assert!(help.contains(option), "{help}");
    }
}

#[test]
fn an_address_in_use_is_named_together_with_what_to_do() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let url = format!("tcp://{address}");
    let message = refused(&["serve", "upper", "--listen", &url], 1);
    let expected = format!("socketserver: address {address} is in use; stop the program");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}

#[test]
fn a_unix_socket_in_use_stays_with_its_server() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("taken");
    let _other = UnixListener::bind(&path).unwrap();
    let url = format!("unix://{}", path.display());
    let message = refused(&["serve", "upper", "--listen", &url], 1);
    let expected = format!("socketserver: address unix:{} is in use", path.display());
    assert!(message.starts_with(&expected), "{message}");
    assert!(path.exists());
}

#[test]
fn a_path_in_no_directory_is_a_failure_to_start() {
    let directory = support::short_paths::directory();
    let path = directory.path().join("missing").join("socket");
    let url = format!("unix://{}", path.display());
    let message = refused(&["serve", "upper", "--listen", &url], 1);
    assert!(message.starts_with("socketserver: "), "{message}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
}

#[test]
fn a_server_that_cannot_print_its_url_does_not_start() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let arguments = ["serve", "upper", "--listen", "tcp://127.0.0.1:0"];
    let output = socketserver(&arguments).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    let expected = "socketserver: cannot write to standard output: ";
    assert!(message.starts_with(expected), "{message}");
}
