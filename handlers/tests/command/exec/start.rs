//! A program that cannot be started.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{LOOPBACK, exec};
use crate::served::{rest, socketserver};

/// Runs the command, which must fail before it has an address, and returns its message.
fn refused(arguments: &[&str], status: i32) -> String {
    let output = socketserver(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(status),
        "{arguments:?}: {message}"
    );
    assert_eq!(output.stdout, b"", "{arguments:?}");
    message
}

#[test]
fn a_program_that_is_not_there_is_an_error_before_anything_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let plain = directory.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    for (program, expected) in [
        ("no-such-program", "there is no program \"no-such-program\""),
        (
            "./no-such-program",
            "./no-such-program cannot be executed: ",
        ),
        ("/", "/ cannot be executed: "),
        (plain.to_str().unwrap(), "plain cannot be executed: "),
    ] {
        let message = refused(&["exec", "--listen", LOOPBACK, "--", program], 1);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn what_makes_no_sense_on_the_command_line_is_refused() {
    for (arguments, expected) in [
        (["exec", "--listen", LOOPBACK].as_slice(), "<PROGRAM>"),
        (&["exec", "--cuont", "cat"], "--cuont"),
        (&["exec", "--turn", "3", "cat"], "--lifetime"),
        (&["exec", "--workers", "3", "cat"], "--mixin pool"),
        (
            &[
                "exec",
                "--listen",
                "udp://127.0.0.1:0",
                "--idle-timeout",
                "3",
                "cat",
            ],
            "udp",
        ),
    ] {
        let message = refused(arguments, 2);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_program_that_vanishes_costs_a_client_its_connection_and_the_log_has_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    for (text, reason) in [
        ("#!/bin/sh\necho fine\n", None),
        ("#!/no/such/interpreter\n", Some("cannot start ")),
        ("no program", Some("cannot start ")),
    ] {
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mut served = exec(LOOPBACK, &[], &[program.to_str().unwrap()]);
        let client = served.connect();
        match reason {
            None => assert_eq!(rest(client), b"fine\n"),
            Some(reason) => {
                assert_eq!(rest(client), b"");
                let line = served.wait_for_log(reason);
                assert!(line.contains("ERROR"), "{line}");
                assert!(line.contains("127.0.0.1:"), "{line}");
            }
        }
        // The next client has its program, once there is one.
        fs::write(&program, "#!/bin/sh\necho again\n").unwrap();
        assert_eq!(rest(served.connect()), b"again\n");
        served.stop();
    }
}
