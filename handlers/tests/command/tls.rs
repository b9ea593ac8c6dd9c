//! `socketserver serve … --tls-cert` and `client … --tls`.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use socketserver::Address;
use support::certificates::{Authority, Identity};
use support::clients::StreamClient;
use support::short_paths::directory;
use support::tls_clients::TlsClients;

use crate::client::Client;
use crate::served::{Served, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The options of a server with this certificate.
fn options(identity: &Identity) -> [&str; 4] {
    let (certificate, key) = (text(&identity.certificate), text(&identity.key));
    ["--tls-cert", certificate, "--tls-key", key]
}

#[test]
fn with_every_mix_in_the_command_s_client_talks_with_the_server() {
    let authority = Authority::new();
    let server = authority.server(&["localhost", "127.0.0.1"]);
    let file = authority.file();
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        let arguments = [&options(&server)[..], &["--mixin", mixin]].concat();
        for (handler, answer) in [("upper", "HELLO\nAGAIN\n"), ("echo", "hello\nagain\n")] {
            let served = Served::start(handler, LOOPBACK, &arguments);
            let arguments = [handler, served.url(), "--tls", "--ca", text(&file)];
            let ended = Client::run(&arguments, "hello\nagain\n");
            assert_eq!(ended.status, Some(0), "{mixin}: {}", ended.stderr);
            assert_eq!(ended.screen, answer, "{mixin}");
            served.stop();
        }
    }
}

#[test]
fn a_unix_socket_is_encrypted_too_and_a_key_still_guards_a_handler() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let (file, directory) = (authority.file(), directory());
    let url = format!("unix://{}", directory.path().join("socket").display());
    let key = directory.path().join("key");
    fs::write(&key, "secret").unwrap();
    let guarded = ["--auth-key-file", text(&key)];
    let served = Served::start("echo", &url, &[&options(&server)[..], &guarded].concat());
    let arguments = ["echo", &url, "--tls", "--ca", text(&file)];
    let ended = Client::run(&[&arguments[..], &guarded].concat(), "hello\n");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.screen, "hello\n");
    served.stop();
}

#[test]
fn clients_have_to_show_a_certificate_if_the_server_asks_for_one() {
    let authority = Authority::new();
    let server = authority.server(&["127.0.0.1"]);
    let [grace, mallory] = ["Grace", "Mallory"].map(|name| authority.client(name));
    let (file, list) = (authority.file(), authority.revoke(&[&mallory]));
    let ask = [
        "--tls-client-ca",
        text(&file),
        "--tls-client-crl",
        text(&list),
    ];
    let served = Served::start("echo", LOOPBACK, &[&options(&server)[..], &ask].concat());
    let arguments = ["echo", served.url(), "--tls", "--ca", text(&file)];
    let run = |identity: Option<&Identity>| {
        let mut arguments = arguments.to_vec();
        if let Some(identity) = identity {
            let (certificate, key) = (text(&identity.certificate), text(&identity.key));
            arguments.extend(["--cert", certificate, "--key", key]);
        }
        Client::run(&arguments, "hello\n")
    };
    let known = run(Some(&grace));
    assert_eq!((known.status, &*known.screen), (Some(0), "hello\n"));
    for refused in [run(None), run(Some(&mallory))] {
        assert_eq!(refused.status, Some(1), "{}", refused.stderr);
    }
    served.stop();

    let ask = ["--tls-client-ca", text(&file), "--tls-client-optional"];
    let served = Served::start("echo", LOOPBACK, &[&options(&server)[..], &ask].concat());
    let arguments = ["echo", served.url(), "--tls", "--ca", text(&file)];
    assert_eq!(Client::run(&arguments, "hello\n").screen, "hello\n");
    served.stop();
}

#[test]
fn a_client_does_not_talk_with_a_server_that_it_cannot_trust_unless_it_is_insecure() {
    let [authority, elsewhere] = [(); 2].map(|()| Authority::new());
    let server = authority.server(&["somewhere.example.org"]);
    let served = Served::start("echo", LOOPBACK, &options(&server));
    let [file, wrong] = [authority.file(), elsewhere.file()];
    let run = |options: &[&str]| {
        let arguments = [&["echo", served.url(), "--tls"], options].concat();
        Client::run(&arguments, "hello\n")
    };
    for (options, reason) in [
        (&["--ca", text(&file)][..], "not valid for name"),
        (&["--ca", text(&wrong)], "invalid peer certificate"),
    ] {
        let ended = run(options);
        assert_eq!(ended.status, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
        assert!(ended.stderr.contains("check --ca"), "{}", ended.stderr);
    }
    let name = "somewhere.example.org";
    let named = run(&["--ca", text(&file), "--server-name", name]);
    assert_eq!((named.status, &*named.screen), (Some(0), "hello\n"));
    let insecure = run(&["--insecure"]);
    assert_eq!((insecure.status, &*insecure.screen), (Some(0), "hello\n"));
    served.stop();
}

#[test]
fn each_side_reports_that_the_other_does_not_speak_tls() {
    let authority = Authority::new();
    let server = authority.server(&["127.0.0.1"]);
    let mut served = Served::start("echo", LOOPBACK, &options(&server));
    let ended = Client::run(&["echo", served.url()], "hello\n");
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    served.wait_for_log("TLS handshake failed");
    served.stop();
    let plain = Served::start("upper-loop", LOOPBACK, &[]);
    let ended = Client::run(&["echo", plain.url(), "--tls", "--insecure"], "hello\n");
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("speaks TLS"), "{}", ended.stderr);
    plain.stop();
}

#[test]
fn sighup_loads_the_files_again_and_a_broken_file_changes_nothing() {
    let authority = Authority::new();
    let [first, second] = [(); 2].map(|()| authority.server(&["localhost"]));
    let [certificate, key] = ["live.pem", "live.key"].map(|name| authority.path(name));
    let arguments = ["--tls-cert", text(&certificate), "--tls-key", text(&key)];
    let clients = TlsClients::new(&authority);
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        first.copy_to(&certificate, &key);
        let mixin_arguments = [&arguments[..], &["--mixin", mixin]].concat();
        let mut served = Served::start("echo", LOOPBACK, &mixin_arguments);
        let address = Address::from(served.address());
        let shown = || clients.connect(&address).server_certificate();
        let before = shown();
        second.copy_to(&certificate, &key);
        served.signal(Signal::SIGHUP);
        served.wait_for_log("were loaded again");
        let after = shown();
        assert_ne!(before, after, "{mixin}");
        fs::write(&certificate, "broken").unwrap();
        served.signal(Signal::SIGHUP);
        let line = served.wait_for_log("stay in use");
        assert!(line.contains("live.pem"), "{line}");
        assert_eq!(shown(), after, "{mixin}");
        served.stop();
    }
}

#[test]
fn beside_a_tls_url_the_others_stay_plain_and_all_share_the_certificates() {
    let authority = Authority::new();
    let [server, next] = [(); 2].map(|()| authority.server(&["localhost", "127.0.0.1"]));
    let [certificate, key] = ["live.pem", "live.key"].map(|name| authority.path(name));
    server.copy_to(&certificate, &key);
    let clients = TlsClients::new(&authority);
    let file = authority.file();
    let mut command = socketserver(&["serve", "echo", "--shards", "2"]);
    for url in [
        "tls://127.0.0.1:0",
        LOOPBACK,
        "udp://127.0.0.1:0",
        "tls://127.0.0.1:0",
    ] {
        command.args(["--listen", url]);
    }
    command.args(["--tls-cert", text(&certificate), "--tls-key", text(&key)]);
    let mut served = Served::run(command);
    let urls = [
        served.url().to_owned(),
        served.next_url(),
        served.next_url(),
        served.next_url(),
    ];
    for url in [&urls[0], &urls[3]] {
        assert!(url.starts_with("tls://"), "{url}");
        let ended = Client::run(&["echo", url, "--ca", text(&file)], "hello\n");
        assert_eq!(
            (ended.status, &*ended.screen),
            (Some(0), "hello\n"),
            "{}",
            ended.stderr
        );
    }
    for url in [&urls[1], &urls[2]] {
        let ended = Client::run(&["echo", url], "hello\n");
        assert_eq!(
            (ended.status, &*ended.screen),
            (Some(0), "hello\n"),
            "{}",
            ended.stderr
        );
    }
    next.copy_to(&certificate, &key);
    served.signal(Signal::SIGHUP);
    served.wait_for_log("were loaded again");
    let shown = [&urls[0], &urls[3]].map(|url| {
        let address: std::net::SocketAddr = url.split_once("://").unwrap().1.parse().unwrap();
        clients.connect(&address.into()).server_certificate()
    });
    assert_eq!(shown[0], shown[1]);
    served.signal(Signal::SIGTERM);
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
    assert!(!log.contains("were loaded again"), "{log}");
}

#[test]
fn an_encryption_that_would_leave_an_address_plain_by_mistake_is_refused() {
    let options = ["--tls-cert", "a.pem", "--tls-key", "a.key"];
    let tcp = ["serve", "echo", "--listen", LOOPBACK];
    let udp = ["--listen", "udp://127.0.0.1:0"];
    for (arguments, expected) in [
        ([&tcp[..], &udp, &options].concat(), "write tls://"),
        (
            vec!["serve", "echo", "--listen", "tls://127.0.0.1:0"],
            "--tls-cert",
        ),
        (vec!["client", "echo", "tls://127.0.0.1:9"], "--ca"),
        (vec!["client", "echo", LOOPBACK, "--insecure"], "--tls"),
    ] {
        let output = socketserver(&arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn options_that_cannot_be_meant_are_refused_and_a_missing_file_is_named() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let options = options(&server);
    let missing = authority.path("missing.pem");
    for (arguments, status, expected) in [
        (vec!["serve", "echo", "--tls-cert", "a.pem"], 2, "--tls-key"),
        (
            vec!["serve", "echo", "--tls-client-ca", "a.pem"],
            2,
            "--tls-cert",
        ),
        (
            [
                &["serve", "echo", "--listen", "udp://127.0.0.1:0"],
                &options[..],
            ]
            .concat(),
            2,
            "udp has none",
        ),
        (
            [&["serve", "echo", "--tls-cert", "a.pem"], &options[..]].concat(),
            2,
            "each --tls-cert",
        ),
        (
            vec![
                "serve",
                "echo",
                "--tls-cert",
                text(&missing),
                "--tls-key",
                options[3],
            ],
            1,
            "missing.pem",
        ),
        (vec!["client", "echo", "--tls"], 2, "--insecure"),
        (vec!["client", "echo", "--ca", "a.pem"], 2, "--tls"),
        (
            vec!["client", "echo", "--tls", "--ca", text(&missing)],
            1,
            "missing.pem",
        ),
        (
            vec!["client", "chat", "udp://127.0.0.1:9", "--tls", "--insecure"],
            2,
            "udp has none",
        ),
    ] {
        let output = socketserver(&arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {errors}"
        );
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn a_silent_client_does_not_hold_a_server_that_stops() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"]);
    let mut served = Served::start("echo", LOOPBACK, &options(&server));
    let address = Address::from(served.address());
    let mut silent = StreamClient::connect(&address);
    let mut client = TlsClients::new(&authority).connect(&address);
    client.send("hello\n");
    assert_eq!(client.line(), "hello");
    served.signal(Signal::SIGTERM);
    silent.wait_for_close();
    assert_eq!(client.rest().unwrap(), b"");
    let line = served.wait_for_log("stopped; requests");
    assert!(line.contains(" 0 aborted"), "{line}");
    let (status, _, log) = served.exit();
    assert_eq!(status, Some(0), "{log}");
}
