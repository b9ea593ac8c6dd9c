//! Handlers that run commands are for this machine, and options are for the handlers that have
//! them.

use crate::served::{Served, exchange, socketserver};

/// Runs the command, which must fail with this status, and returns its message.
fn refused(arguments: &[&str], status: i32) -> String {
    let output = socketserver(arguments).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    let ended = output.status.code();
    assert_eq!(ended, Some(status), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    message
}

#[test]
fn an_address_that_other_machines_may_reach_is_refused_with_the_reason() {
    for (handler, url) in [
        ("shell", "tcp://0.0.0.0:0"),
        ("shell", "tcp://[::]:0"),
        ("shell", "udp://0.0.0.0:0"),
        ("shell", "tcp://192.0.2.1:0"),
        ("operator", "udp://0.0.0.0:0"),
    ] {
        let message = refused(&["serve", handler, "--listen", url], 2);
        assert!(message.contains("whoever reaches it"), "{message}");
        assert!(message.contains("--allow-remote"), "{message}");
    }
}

#[test]
fn such_an_address_is_listened_on_where_that_is_asked_for() {
    // This machine does not have the address, so the bind fails, with another message.
    let url = "tcp://192.0.2.1:0";
    let arguments = ["serve", "shell", "--listen", url, "--allow-remote"];
    let message = refused(&[&arguments[..], &["--serve-any-user"]].concat(), 1);
    assert!(message.contains("192.0.2.1"), "{message}");
    assert!(!message.contains("--allow-remote"), "{message}");
    // Of another machine's client the user cannot be known.
    let message = refused(&arguments, 2);
    assert!(message.contains("--auth-key-file"), "{message}");
    assert!(message.contains("--serve-any-user"), "{message}");
}

#[test]
fn a_name_of_this_machine_is_as_good_as_its_address() {
    for url in ["tcp://localhost:0", "udp://localhost:0"] {
        Served::start("shell", url, &[]).stop();
    }
}

#[test]
fn an_option_of_another_handler_or_transport_is_refused_by_name() {
    for (arguments, expected) in [
        (
            &["upper", "--framing", "json"][..],
            "unexpected argument '--framing' found",
        ),
        (
            &["--framing", "json", "upper"],
            "unexpected argument '--framing' found",
        ),
        (
            &["shell", "--listen", "udp://127.0.0.1:0", "--framing", "raw"],
            "--framing is for streams: a datagram has its end",
        ),
        (
            &["upper", "--allow-remote"],
            "unexpected argument '--allow-remote' found",
        ),
        (
            &["operator", "--output-limit", "1KiB"],
            "unexpected argument '--output-limit' found",
        ),
    ] {
        let message = refused(&[&["serve"], arguments].concat(), 2);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn options_are_accepted_before_the_name_of_the_handler() {
    let mut command = socketserver(&["serve", "--listen", "tcp://127.0.0.1:0"]);
    command.args(["--framing", "raw", "shell", "--mixin", "pool"]);
    let served = Served::run(command);
    let answer = exchange(&mut served.connect(), b"echo hi", 3);
    assert_eq!(answer, b"hi\n");
    served.stop();
}

#[test]
fn a_value_that_makes_no_sense_is_refused_with_what_to_write() {
    for (option, reason) in [
        (
            "--framing=xml",
            "[possible values: raw, ready, header, json]",
        ),
        (
            "--command-timeout=0",
            "a time of 0 seconds would be over at once",
        ),
        ("--command-timeout=30s", "write a number of seconds"),
        (
            "--output-limit=0",
            "a size of 0 bytes leaves room for nothing",
        ),
        (
            "--output-limit=16MB",
            "write a number of bytes, or of KiB, MiB or GiB",
        ),
    ] {
        let message = refused(&["serve", "shell", option], 2);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn a_handler_with_one_operator_is_not_served_by_several() {
    for mixin in ["threading", "forking", "pool"] {
        let message = refused(&["serve", "operator", "--mixin", mixin], 2);
        let expected =
            format!("operator cannot be served with --mixin {mixin}; choose one of: none");
        assert!(message.contains(&expected), "{message}");
    }
}
