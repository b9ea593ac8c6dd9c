//! Unix sockets of the command: their paths and names, and who may connect.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::short_paths::directory;

use crate::served::socketserver;

/// A server in a directory, which is killed when the test ends.
struct Server {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    fn start(directory: &Path, handler: &str, url: &OsStr, options: &[&str]) -> Self {
        let mut command = socketserver(&["serve", handler, "--listen"]);
        command.arg(url).args(options).current_dir(directory);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout }
    }

    /// The URL in the line `listening on`.
    fn url(&mut self) -> OsString {
        let mut line = Vec::new();
        self.stdout.read_until(b'\n', &mut line).unwrap();
        let url = line.strip_prefix(b"listening on ").unwrap();
        OsString::from_vec(url.strip_suffix(b"\n").unwrap().to_owned())
    }

    fn stop(mut self) {
        let pid = Pid::from_raw(self.process.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs the client in the directory with one line of input.
fn client(directory: &Path, program: &str, url: &OsStr, input: &str) -> (String, String) {
    let mut command: Command = socketserver(&["client", program]);
    command
        .arg(url)
        .current_dir(directory)
        .stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

#[test]
fn what_the_server_prints_can_be_typed_back_for_every_kind_of_path() {
    let directory = directory();
    let at = directory.path().as_os_str().as_bytes();
    let unique = format!("@socketserver-{}", std::process::id());
    let paths = [
        at.iter().copied().chain(*b"/plain").collect(),
        at.iter().copied().chain(*b"/%41 \xff\xfe").collect(),
        b"relative".to_vec(),
        b"./@file \xc3\xa9".to_vec(),
        unique.clone().into_bytes(),
        [unique.as_bytes(), b"-\xff"].concat(),
    ];
    for path in &paths {
        for slashes in [&b"//"[..], b""] {
            let url = [b"unix:", slashes, path].concat();
            let mut server = Server::start(directory.path(), "upper", os(&url), &[]);
            let printed = server.url();
            assert_eq!(printed.as_bytes(), [b"unix://", &**path].concat());
            let answer = client(directory.path(), "upper", &printed, "hello\n");
            assert_eq!(answer, ("HELLO\n".to_owned(), String::new()));
            server.stop();

            let url = [b"unixgram:", slashes, path].concat();
            let mut server = Server::start(directory.path(), "echo", os(&url), &[]);
            let printed = server.url();
            assert_eq!(printed.as_bytes(), [b"unixgram://", &**path].concat());
            let answer = client(directory.path(), "echo", &printed, "hello\n");
            assert_eq!(answer, ("hello\n".to_owned(), String::new()));
            server.stop();
        }
    }
}

#[test]
fn the_error_of_the_client_has_the_bytes_of_its_url() {
    let directory = directory();
    let mut command = socketserver(&["client", "upper"]);
    command
        .arg(os(b"unix://\xff"))
        .current_dir(directory.path());
    command.stdin(Stdio::piped());
    let process = command.stderr(Stdio::piped()).spawn();
    let mut process = process.unwrap();
    process.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let error = process.wait_with_output().unwrap().stderr;
    assert!(
        error.starts_with(b"socketserver: unix://\xff: "),
        "{error:?}"
    );
}

#[test]
fn the_file_has_the_mode_and_the_group_of_the_options() {
    let directory = directory();
    let group = std::fs::metadata(directory.path())
        .unwrap()
        .gid()
        .to_string();
    let file = directory.path().join("s");
    let options = ["--socket-mode", "640", "--socket-group", &group];
    for (handler, url) in [("upper", "unix://s"), ("echo", "unixgram://s")] {
        let mut server = Server::start(directory.path(), handler, OsStr::new(url), &options);
        server.url();
        let metadata = std::fs::metadata(&file).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o640);
        assert_eq!(metadata.gid().to_string(), group);
        server.stop();
        assert!(!file.exists());
    }
}

#[test]
fn an_option_of_the_file_is_refused_where_there_is_none_and_a_mode_that_is_none() {
    for (url, option, value, expected) in [
        ("tcp://127.0.0.1:0", "--socket-mode", "660", "have no file"),
        ("udp://127.0.0.1:0", "--socket-group", "0", "have no file"),
        ("unix://@name", "--socket-mode", "660", "abstract namespace"),
        (
            "unix:///tmp/s",
            "--socket-mode",
            "1777",
            "three octal digits",
        ),
        ("unix:///tmp/s", "--socket-mode", "rw", "three octal digits"),
        ("unix:///tmp/s", "--socket-group", "no such", "no group"),
    ] {
        let output = socketserver(&["serve", "echo", "--listen", url, option, value]).output();
        let output = output.unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_server_of_commands_takes_no_datagrams_of_other_users() {
    for (handler, url, options) in [
        ("shell", "unixgram://@commands", &[][..]),
        ("operator", "unixgram://@commands", &[]),
        ("shell", "unixgram:///tmp/s", &["--socket-mode", "620"]),
        ("shell", "unixgram:///tmp/s", &["--socket-mode", "602"]),
    ] {
        let arguments = [&["serve", handler, "--listen", url], options].concat();
        let output = socketserver(&arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("--serve-any-user"), "{error}");
    }
}
