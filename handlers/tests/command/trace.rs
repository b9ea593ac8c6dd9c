//! `socketserver trace`: the calls of a whole server, for one message.

use std::path::Path;
use std::process::Output;

use nix::sys::signal::Signal;
use support::certificates::Authority;

use crate::client::Client;
use crate::served::{Served, socketserver};

/// Runs the command to its end.
fn run(arguments: &[&str]) -> Output {
    socketserver(arguments).output().unwrap()
}

/// The lines of a trace that has ended well: the threads, and the rest of each line.
fn traced(arguments: &[&str]) -> Vec<(String, String)> {
    let output = run(&[&["trace"], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| match line.split_at_checked(17) {
        Some((thread, call)) if call.contains('.') && !line.starts_with("listening") => {
            (thread.trim_end().to_owned(), call.to_owned())
        }
        _ => (String::new(), line.to_owned()),
    });
    lines.collect()
}

/// The lines have these texts, in this order. Returns the threads of those lines.
fn threads_of(lines: &[(String, String)], texts: &[&str]) -> Vec<String> {
    let mut lines_left = lines.iter();
    let found = texts.iter().map(|text| {
        let found = lines_left.find(|(_, line)| line.contains(text));
        let (thread, _) = found.unwrap_or_else(|| panic!("{text} is missing in {lines:#?}"));
        thread.clone()
    });
    found.collect()
}

#[test]
fn one_message_shows_the_way_from_the_bind_to_the_close_over_every_transport() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let places = [
        ("tcp://127.0.0.1:0".to_owned(), "TcpServer"),
        ("udp://127.0.0.1:0".to_owned(), "UdpServer"),
        (format!("unix://{}", path("stream")), "UnixStreamServer"),
        (format!("unixgram://{}", path("gram")), "UnixDatagramServer"),
    ];
    for (url, bottom) in places {
        for mixin in ["none", "threading", "forking", "pool"] {
            let options = ["echo", "--listen", &url, "--mixin", mixin];
            let mut lines = traced(&[&options[..], &["--message", "hello"]].concat());
            if mixin == "forking" {
                // The parent closes its copy of the connection beside the steps of the child.
                let is_copy = |line: &str| line.contains("close_request(");
                lines.retain(|(thread, line)| !(thread == "main" && is_copy(line)));
            }
            let steps = [
                "Server.bind()",
                &format!("{bottom}.server_bind()"),
                &format!("{bottom}.server_activate()"),
                "Server.serve_forever()",
                &format!("{bottom}.get_request() -> "),
                &format!("{bottom}.verify_request("),
                &format!("{bottom}.prepare_request("),
                &format!("{bottom}.finish_request("),
                "echo.setup(",
                "echo.handle(",
                "echo.finish(",
                &format!("{bottom}.shutdown_request("),
                &format!("{bottom}.close_request("),
                "Ended: Finished)",
                "Server.server_close()",
                &format!("{bottom}.server_close()"),
                "reply: \"hello\"",
            ];
            let threads = threads_of(&lines, &steps);
            let in_loop = |thread: &String| thread == "main";
            assert!(threads[..6].iter().all(in_loop), "{threads:?}");
            assert!(threads[14..16].iter().all(in_loop), "{threads:?}");
            let serving = &threads[8];
            match mixin {
                "none" => assert_eq!(serving, "main"),
                "forking" => assert!(serving.starts_with("child "), "{serving}"),
                _ => assert_ne!(serving, "main"),
            }
            assert!(threads[6..13].iter().all(|it| it == serving), "{threads:?}");
        }
    }
}

#[test]
fn a_reactor_shows_each_exchange() {
    let lines = traced(&[
        "upper-loop",
        "--mixin",
        "reactor",
        "--message",
        "hello",
        "--listen",
        "tcp://127.0.0.1:0",
    ]);
    let threads = threads_of(
        &lines,
        &[
            "ReactorMixIn.process_request(",
            "upper-loop.setup(",
            "upper-loop.exchange(",
            "upper-loop.finish(",
            "Ended: Finished)",
            "reply: \"HELLO\"",
        ],
    );
    assert_ne!(threads[2], "main");
}

#[test]
fn the_client_of_a_trace_knows_the_key_of_its_server() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&key, "a key of this test").unwrap();
    let options = [
        "echo",
        "--listen",
        "tcp://127.0.0.1:0",
        "--message",
        "hello",
    ];
    let key = ["--auth-key-file", key.path().to_str().unwrap()];
    let lines = traced(&[&options[..], &key].concat());
    threads_of(&lines, &["echo.setup(", "reply: \"hello\""]);
}

#[test]
fn without_a_message_the_server_serves_until_a_signal_and_shows_its_close() {
    let options = [
        "trace",
        "--listen",
        "tcp://127.0.0.1:0",
        "upper",
        "--mixin",
        "none",
    ];
    let mut command = socketserver(&options);
    command.env("TERM", "xterm");
    let mut served = Served::run_after(command, 3);
    let mut client = served.connect();
    std::io::Write::write_all(&mut client, b"hello\n").unwrap();
    assert_eq!(crate::served::rest(client), b"HELLO");
    served.signal(Signal::SIGINT);
    let mut lines = Vec::new();
    loop {
        let line = served.shown();
        assert!(!line.contains('\u{1b}'), "colours in a pipe: {line:?}");
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    assert!(
        lines[lines.len() - 2].contains("Server.server_close()"),
        "{lines:?}"
    );
    assert!(
        lines[lines.len() - 1].contains("TcpServer.server_close()"),
        "{lines:?}"
    );
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}

#[test]
fn over_tls_a_trace_shows_the_hooks_of_the_handshake() {
    let authority = Authority::new();
    let server = authority.server(&["localhost", "127.0.0.1"]);
    let (file, text) = (authority.file(), |path: &Path| path.display().to_string());
    let (certificate, key) = (text(&server.certificate), text(&server.key));
    let options = ["trace", "upper", "--listen", "tls://127.0.0.1:0"];
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    // The bind, and two hooks of three layers.
    let mut served = Served::run_after(socketserver(&[&options[..], &tls].concat()), 7);
    let arguments = ["upper", served.url(), "--ca", &text(&file)];
    let ended = Client::run(&arguments, "hello\n");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.screen, "HELLO\n");
    served.signal(Signal::SIGINT);
    let lines = std::iter::from_fn(|| Some(served.shown()).filter(|line| !line.is_empty()));
    let lines = Vec::from_iter(lines);
    for call in [
        "TlsMixIn.prepare_request(",
        "upper.handle(",
        "Ended: Finished)",
    ] {
        assert!(lines.iter().any(|line| line.contains(call)), "{lines:#?}");
    }
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");

    let message = ["--message", "hello"];
    let output = run(&[&options[..], &tls, &message].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("use socketserver client"), "{errors}");
}

#[test]
fn what_a_trace_cannot_do_is_refused_with_the_reason() {
    for (arguments, reason) in [
        (&["trace", "echo", "--inetd"][..], "--inetd is for serve"),
        (
            &["trace", "shell", "--listen", "tcp://0.0.0.0:0"],
            "--allow-remote",
        ),
        (&["trace", "uper"], "there is no handler 'uper'"),
        (&["serve", "upper", "--message", "hello"], "--message"),
    ] {
        let output = run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(reason), "{arguments:?}: {errors}");
    }
}
