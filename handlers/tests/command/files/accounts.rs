//! `socketserver users`, and who may log in over which connection.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

#[cfg(feature = "tls")]
use support::certificates::Authority;

use super::site::{Site, stderr};
use crate::served::socketserver;

/// `socketserver users …` with a password on standard input.
fn users(site: &Site, arguments: &[&str], password: &str) -> Output {
    let mut command = socketserver(&["users"]);
    command
        .args(arguments)
        .arg("--users")
        .arg(site.path("accounts"));
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The program may end without having read.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn accounts_are_made_changed_listed_and_removed() {
    let site = Site::new();
    let done = |arguments: &[&str], password| {
        let output = users(&site, arguments, password);
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    done(&["add", "ada"], "secret\n");
    done(&["add", "bob", "--quota", "2GiB"], "geheim\n");
    assert_eq!(done(&["list"], ""), "ada\nbob  2GiB\n");
    done(&["passwd", "ada"], "other\n");
    done(&["quota", "ada", "10MiB"], "");
    done(&["quota", "bob", "none"], "");
    assert_eq!(done(&["list"], ""), "ada  10MiB\nbob\n");
    done(&["remove", "bob"], "");
    assert_eq!(done(&["list"], ""), "ada  10MiB\n");
    let mode = fs::metadata(site.path("accounts"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for (arguments, password, why) in [
        (&["add", "ada"], "x\n", "there is a user ada already"),
        (&["add", "../eve"], "x\n", "the name of a user has"),
        (&["add", "eve"], "\n", "the password is empty"),
        (&["passwd", "eve"], "x\n", "there is no user eve"),
        (&["remove", "eve"], "", "there is no user eve"),
    ] {
        let output = users(&site, arguments, password);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
    assert_eq!(done(&["list"], ""), "ada  10MiB\n");
}

#[test]
fn a_password_that_changes_is_in_force_for_a_server_that_runs() {
    let site = Site::new();
    let added = users(&site, &["add", "ada"], "sesame\n");
    assert!(added.status.success());
    fs::rename(site.path("accounts"), site.path("users")).unwrap();
    let served = site.serve(&[]);
    site.succeed(served.url(), &["pwd"]);
    fs::rename(site.path("users"), site.path("accounts")).unwrap();
    assert!(users(&site, &["passwd", "ada"], "other\n").status.success());
    fs::rename(site.path("accounts"), site.path("users")).unwrap();
    let output = site.run(served.url(), &["pwd"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the user or the password is wrong"));
    served.stop();
}

/// The end of a server that does not start.
fn refusal(site: &Site, options: &[&str]) -> (Option<i32>, String) {
    let mut command = socketserver(&["serve", "files"]);
    command.arg("--root").arg(site.path("homes"));
    command.arg("--users").arg(site.path("users"));
    let output = command.args(options).output().unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn passwords_from_other_machines_have_to_be_encrypted_or_allowed() {
    let site = Site::new();
    for url in ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:1"] {
        let (status, why) = refusal(&site, &["--listen", url]);
        assert_eq!(status, Some(2), "{why}");
        for part in [
            "--tls-cert",
            "--allow-plain-passwords",
            "could read the passwords",
        ] {
            assert!(why.contains(part), "{why}");
        }
    }
    let served = site.serve_on("tcp://0.0.0.0:0", &["--allow-plain-passwords"]);
    served.stop();
}

#[cfg(feature = "tls")]
#[test]
fn a_plain_address_beside_an_encrypted_one_takes_no_passwords_from_other_machines() {
    let site = Site::new();
    let authority = support::certificates::Authority::new();
    let server = authority.server(&["localhost"]);
    let [certificate, key] = [&server.certificate, &server.key].map(|it| it.to_str().unwrap());
    let tls = ["--tls-cert", certificate, "--tls-key", key];
    let listen = ["--listen", "tls://0.0.0.0:0", "--listen", "tcp://0.0.0.0:0"];
    let (status, why) = refusal(&site, &[&listen[..], &tls].concat());
    assert_eq!(status, Some(2), "{why}");
    assert!(why.contains("could read the passwords"), "{why}");
}

#[cfg(feature = "tls")]
#[test]
fn an_encrypted_service_listens_everywhere() {
    let site = Site::new();
    let authority = Authority::new();
    let identity = authority.server(&["localhost"]);
    let [certificate, key, ca] = [identity.certificate, identity.key, authority.file()]
        .map(|path| path.into_os_string().into_string().unwrap());
    let options = ["--tls-cert", &certificate, "--tls-key", &key];
    let served = site.serve_on("tcp://0.0.0.0:0", &options);
    let url = format!("tcp://127.0.0.1:{}", served.address().port());
    let tls = ["--tls", "--ca", &ca, "--server-name", "localhost"];
    fs::write(site.local("a"), vec![b'x'; 3_000_000]).unwrap();
    site.succeed(&url, &[&tls[..], &["put", "a"]].concat());
    site.succeed(&url, &[&tls[..], &["get", "a", "b"]].concat());
    assert!(fs::read(site.local("a")).unwrap() == fs::read(site.local("b")).unwrap());
    served.stop();
}

#[test]
fn a_service_without_its_directory_or_its_accounts_does_not_start() {
    let site = Site::new();
    fs::remove_file(site.path("users")).unwrap();
    let (status, why) = refusal(&site, &[]);
    assert_eq!(status, Some(1));
    assert!(why.contains("socketserver users add"), "{why}");
    fs::write(site.path("users"), "ada\n").unwrap();
    let (_, why) = refusal(&site, &[]);
    assert!(why.contains("line 1"), "{why}");
    fs::write(site.path("users"), b"\xff\n").unwrap();
    let (_, why) = refusal(&site, &[]);
    assert!(why.contains("UTF-8") && !why.contains("users add"), "{why}");
    fs::write(site.path("users"), "").unwrap();
    fs::remove_dir_all(site.path("homes")).unwrap();
    let (status, why) = refusal(&site, &[]);
    assert_eq!(status, Some(1));
    assert!(why.contains("the directory of the homes"), "{why}");
    let mut command = socketserver(&["serve", "files"]);
    assert_eq!(command.output().unwrap().status.code(), Some(2));
}
