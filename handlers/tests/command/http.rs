//! `socketserver serve http`, with the clients that people have.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use support::certificates::Authority;

use crate::served::{SAFETY_NET, Served, socketserver};

/// A server of a new directory with a file `a.txt`, and the directory.
fn serve(options: &[&str]) -> (Served, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a.txt"), "content").unwrap();
    let path = root.path().to_str().unwrap();
    let options = [&["--root", path], options].concat();
    let served = Served::start("http", "tcp://127.0.0.1:0", &options);
    (served, root)
}

/// Everything that the server sends for these bytes, until it closes.
fn answer(served: &Served, bytes: &str) -> String {
    let mut client = TcpStream::connect(served.address()).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.write_all(bytes.as_bytes()).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

fn get(served: &Served, target: &str) -> String {
    let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    answer(served, &head)
}

/// Runs a client that may not be installed, and returns its exit status and its output.
fn client(program: &str, arguments: &[&str]) -> Option<(Option<i32>, Vec<u8>)> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some((output.status.code(), output.stdout)),
        Err(error) => {
            println!("skipped: {program} cannot be run: {error}");
            None
        }
    }
}

#[test]
fn the_files_of_the_directory_are_served_with_each_mix_in() {
    for mixin in ["reactor", "threading", "none", "forking", "pool"] {
        let (served, _root) = serve(&["--mixin", mixin]);
        assert!(
            get(&served, "/a.txt").ends_with("\r\n\r\ncontent"),
            "{mixin}"
        );
        assert!(get(&served, "/").contains("<a href=\"a.txt\">"), "{mixin}");
        served.stop();
    }
}

#[test]
fn the_options_of_the_files_reach_them() {
    let (served, root) = serve(&["--spa", "--cors", "--precompressed"]);
    fs::write(root.path().join("index.html"), "page").unwrap();
    fs::write(root.path().join("a.txt.gz"), "smaller").unwrap();
    let page = get(&served, "/users/1");
    assert!(page.ends_with("\r\n\r\npage"), "{page}");
    assert!(
        page.contains("access-control-allow-origin: *\r\n"),
        "{page}"
    );
    let head = "GET /a.txt HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n";
    assert!(answer(&served, head).ends_with("\r\n\r\nsmaller"));
    served.stop();
}

#[test]
fn each_request_is_logged_on_standard_error_or_in_a_file() {
    let (mut served, _root) = serve(&[]);
    get(&served, "/a.txt");
    let line = served.wait_for_log("GET /a.txt");
    assert!(
        line.trim_end().ends_with("\"GET /a.txt HTTP/1.1\" 200 7"),
        "{line}"
    );
    served.stop();

    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let (served, _root) = serve(&["--mixin", "forking", "--access-log", log.to_str().unwrap()]);
    get(&served, "/a.txt");
    get(&served, "/missing\"");
    answer(&served, "nonsense\r\n\r\n");
    served.stop();
    let text = fs::read_to_string(log).unwrap();
    let mut requests = Vec::from_iter(text.lines().map(|line| line.split_once("] ").unwrap().1));
    requests.sort_unstable();
    assert_eq!(requests.len(), 3, "{text}");
    assert!(
        requests[0].starts_with("\"GET /a.txt HTTP/1.1\" 200 7"),
        "{text}"
    );
    assert!(
        requests[1].starts_with("\"GET /missing\\\" HTTP/1.1\" 404 "),
        "{text}"
    );
    assert!(requests[2].starts_with("\"nonsense\" 400 "), "{text}");
    assert!(text.lines().all(|line| line.starts_with("127.0.0.1 - - [")));
}

#[test]
fn sighup_opens_the_access_log_again_and_a_failed_open_keeps_the_former_file() {
    for mixin in ["reactor", "threading", "forking"] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let log = path("access.log");
        let options = ["--mixin", mixin, "--access-log", log.to_str().unwrap()];
        let (mut served, _root) = serve(&options);
        let paths_in = |log: &Path| {
            let text = fs::read_to_string(log).unwrap();
            let words = text
                .lines()
                .map(|line| line.split(' ').nth(6).unwrap().to_owned());
            Vec::from_iter(words)
        };
        // A forked child may write its line after the client has its answer.
        let eventually = |log: &Path, expected: &[&str]| {
            support::waiting::eventually("the line is there", || paths_in(log) == expected);
        };
        get(&served, "/1");
        eventually(&log, &["/1"]);
        fs::rename(&log, path("access.log.1")).unwrap();
        get(&served, "/2");
        eventually(&path("access.log.1"), &["/1", "/2"]);
        served.signal(Signal::SIGHUP);
        served.wait_for_log("the access log was opened again");
        get(&served, "/3");
        eventually(&log, &["/3"]);
        fs::rename(&log, path("access.log.2")).unwrap();
        fs::create_dir(&log).unwrap();
        served.signal(Signal::SIGHUP);
        let line = served.wait_for_log("the access log from before stays in use");
        assert!(line.contains("access.log: Is a directory"), "{line}");
        get(&served, "/4");
        eventually(&path("access.log.2"), &["/3", "/4"]);
        eventually(&path("access.log.1"), &["/1", "/2"]);
        served.stop();
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_error_at_once() {
    let arguments = [
        "serve",
        "http",
        "--root",
        "/missing/site",
        "--listen",
        "tcp://127.0.0.1:0",
    ];
    let output = socketserver(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("cannot serve /missing/site: No such file"),
        "{message}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn curl_and_wget_resume_a_download() {
    let (served, root) = serve(&[]);
    let content = Vec::from_iter((0..2_000_000_u32).map(|it| it.to_le_bytes()[1]));
    fs::write(root.path().join("large"), &content).unwrap();
    let url = format!("http://{}/large", served.address());
    let directory = tempfile::tempdir().unwrap();
    let resumes = |program: &str, options: &[&str]| {
        let file = directory.path().join(program);
        fs::write(&file, &content[..700_000]).unwrap();
        let name = file.to_str().unwrap();
        let arguments = [options, &[name, &url]].concat();
        if let Some((status, _)) = client(program, &arguments) {
            assert_eq!(status, Some(0), "{program}");
            assert!(fs::read(&file).unwrap() == content, "{program}");
        }
    };
    resumes("curl", &["--silent", "--show-error", "-C", "-", "-o"]);
    resumes("wget", &["--quiet", "--tries=1", "-c", "-O"]);
    served.stop();
}

#[test]
fn curl_sends_the_tag_of_a_file_that_it_has() {
    let (served, _root) = serve(&[]);
    let url = format!("http://{}/a.txt", served.address());
    let directory = tempfile::tempdir().unwrap();
    let etag = directory.path().join("etag");
    let etag = etag.to_str().unwrap();
    let arguments = [
        "--silent",
        "--etag-save",
        etag,
        "--etag-compare",
        etag,
        "--write-out",
        "%{http_code}",
        &url,
    ];
    if let Some((_, first)) = client("curl", &arguments) {
        assert_eq!(first, b"content200");
        assert!(Path::new(etag).exists());
        assert_eq!(client("curl", &arguments).unwrap().1, b"304");
    }
    served.stop();
}

#[test]
fn a_large_file_may_take_longer_than_the_idle_timeout() {
    // The whole answer has no bound: --progress-timeout is set for this handler.
    let (served, root) = serve(&["--idle-timeout", "0.3", "--mixin", "threading"]);
    let content = vec![b'x'; 20_000_000];
    fs::write(root.path().join("large"), &content).unwrap();
    let mut client = TcpStream::connect(served.address()).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    let head = "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut buffer = [0; 1000];
    client.read_exact(&mut buffer).unwrap();
    // More than the idle timeout passes: that is what the test is about.
    std::thread::sleep(std::time::Duration::from_millis(700));
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&content[..10_000]) && rest.len() > 19_999_000);
    served.stop();
}

#[test]
fn curl_is_served_over_tls_with_each_mix_in() {
    let authority = Authority::new();
    let identity = authority.server(&["localhost", "127.0.0.1"]);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let file = text(&authority.file());
    let (certificate, key) = (text(&identity.certificate), text(&identity.key));
    for mixin in ["reactor", "threading", "none", "forking", "pool"] {
        let tls = ["--tls-cert", &certificate, "--tls-key", &key];
        let (served, root) = serve(&[&tls[..], &["--mixin", mixin]].concat());
        // More than one record, and more than a file that leaves with its head.
        let content: Vec<u8> = (0..300_000_u32).map(|it| it.to_le_bytes()[0]).collect();
        fs::write(root.path().join("large.bin"), &content).unwrap();
        let url = |name: &str| format!("https://{}/{name}", served.address());
        let (small, large) = (url("a.txt"), url("large.bin"));
        let arguments = ["-sS", "--max-time", "60", "--cacert", &file];
        let connects = ["-w", "%{num_connects}", &small, &small];
        let Some((status, output)) = client("curl", &[&arguments[..], &connects].concat()) else {
            return;
        };
        // Both requests are on one connection.
        let output = String::from_utf8(output).unwrap();
        assert_eq!(output, "content1content0", "{mixin}");
        assert_eq!(status, Some(0), "{mixin}");
        let part = ["-r", "1000-", &large];
        let (status, output) = client("curl", &[&arguments[..], &part].concat()).unwrap();
        assert_eq!(status, Some(0), "{mixin}");
        assert!(output == content[1000..], "{mixin}: {}", output.len());
        served.stop();
    }
}

#[test]
fn curl_gets_nothing_if_its_authority_has_not_signed_the_certificate() {
    let [authority, other] = [Authority::new(), Authority::new()];
    let identity = authority.server(&["127.0.0.1"]);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, key) = (text(&identity.certificate), text(&identity.key));
    let (served, _root) = serve(&["--tls-cert", &certificate, "--tls-key", &key]);
    let url = format!("https://{}/a.txt", served.address());
    let arguments = [
        "-sS",
        "--max-time",
        "60",
        "--cacert",
        &text(&other.file()),
        &url,
    ];
    if let Some((status, output)) = client("curl", &arguments) {
        // The certificate is not verified, or no issuer of that name has signed it.
        assert!(matches!(status, Some(35 | 60)), "{status:?}");
        assert_eq!(output, b"");
    }
    served.stop();
}
