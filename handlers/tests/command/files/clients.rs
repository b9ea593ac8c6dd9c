//! Clients beside one another, and clients that do not do their part.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socketserver_handlers::files::{Answer, Code, ContentDigest, Greeting, Refusal, Request};
use support::waiting::eventually;

use super::site::{Site, content};
use crate::served::Served;

/// A client that does what a test wants, byte for byte.
pub struct Raw(pub TcpStream);

impl Raw {
    /// A client whose user has logged in.
    pub fn log_in(served: &Served) -> Self {
        let mut raw = Self(served.connect());
        Greeting::read(&mut raw.0).unwrap().unwrap();
        let login = Request {
            user: Some("ada".to_owned()),
            password: Some("sesame".to_owned()),
            ..Request::new("login")
        };
        raw.ask(&login).unwrap();
        raw
    }

    pub fn ask(&mut self, request: &Request) -> Result<Answer, Refusal> {
        request.write(&mut self.0).unwrap();
        self.read()
    }

    pub fn read(&mut self) -> Result<Answer, Refusal> {
        Answer::read(&mut self.0).unwrap()
    }

    /// Announces a content.
    pub fn put(&mut self, path: &str, content: &[u8]) -> Result<Answer, Refusal> {
        self.ask(&Request {
            path: Some(path.to_owned()),
            size: Some(content.len() as u64),
            ..Request::new("put")
        })
    }

    /// Ends an upload, with the hash of its content.
    pub fn end(&mut self, content: &[u8]) -> Result<Answer, Refusal> {
        let mut hasher = ContentDigest::Sha256.hasher();
        hasher.update(content);
        self.ask(&Request {
            hash: Some(hasher.hex()),
            ..Request::new("sent")
        })
    }

    pub fn part(&mut self, offset: u64, body: &[u8]) {
        let part = Request {
            offset: Some(offset),
            data_size: body.len() as u64,
            ..Request::new("part")
        };
        let mut message = Vec::new();
        part.write(&mut message).unwrap();
        message.extend(body);
        self.0.write_all(&message).unwrap();
    }

    pub fn get(&mut self, path: &str) -> Result<Answer, Refusal> {
        let path = Some(path.to_owned());
        self.ask(&Request {
            path,
            ..Request::new("get")
        })
    }
}

#[test]
fn of_two_sessions_that_write_one_name_one_is_refused() {
    let site = Site::new();
    for mixin in ["threading", "forking", "reactor"] {
        let served = site.serve(&["--mixin", mixin]);
        let mut one = Raw::log_in(&served);
        let mut other = Raw::log_in(&served);
        one.put("a", b"hello").unwrap();
        // Another content, and another path to the same name.
        for path in ["a", "./a", "/a"] {
            let refusal = other.put(path, b"other").unwrap_err();
            assert_eq!(refusal.code(), Code::Busy, "{mixin}");
        }
        other.put("b", b"other").unwrap();
        other.part(0, b"other");
        other.end(b"other").unwrap();
        // The first is gone, and its name is free.
        drop(one);
        eventually("the name is free", || {
            let refused = other.put("a", b"other").map_err(|it| it.code()).err();
            refused != Some(Code::Busy)
        });
        other.part(0, b"other");
        other.end(b"other").unwrap();
        assert_eq!(fs::read(site.home("a")).unwrap(), b"other");
        fs::remove_file(site.home("a")).unwrap();
        fs::remove_file(site.home("b")).unwrap();
        drop(other);
        served.stop();
    }
}

#[test]
fn a_name_that_an_upload_replaces_stays_until_then_and_its_bytes_are_given_back_once() {
    let site = Site::new();
    for mixin in ["threading", "forking", "reactor"] {
        let served = site.serve(&["--mixin", mixin, "--quota", "1000"]);
        let mut one = Raw::log_in(&served);
        let mut other = Raw::log_in(&served);
        let path = |path: &str| Some(path.to_owned());
        other.put("a", &[b'x'; 600]).unwrap();
        other.part(0, &[b'x'; 600]);
        other.end(&[b'x'; 600]).unwrap();
        one.ask(&Request {
            path: path("a"),
            size: Some(5),
            if_exists: Some("replace".to_owned()),
            ..Request::new("put")
        })
        .unwrap();
        let names = super::site::names(&site.home(""));
        let partial = names.iter().find(|name| name.ends_with(".part")).unwrap();
        let rename = |from: &str, to: &str| Request {
            from: path(from),
            to: path(to),
            ..Request::new("rename")
        };
        let remove = |name: &str| Request {
            path: path(name),
            ..Request::new("remove")
        };
        let commands = [
            remove("a"),
            remove(partial),
            rename("a", "b"),
            rename("b", "./a"),
        ];
        for command in commands {
            let refusal = other.ask(&command).unwrap_err();
            assert_eq!(refusal.code(), Code::Busy, "{mixin}: {command:?}");
        }
        one.part(0, b"hello");
        one.end(b"hello").unwrap();
        // The two names are one, and one lock.
        let refusal = other.ask(&rename("a", "./a")).unwrap_err();
        assert_eq!(refusal.code(), Code::Exists, "{mixin}");
        other.ask(&rename("a", "b")).unwrap();
        match other.ask(&Request::new("du")).unwrap() {
            Answer::Usage { bytes, used, .. } => assert_eq!((bytes, used), (5, Some(5))),
            answer => panic!("{answer:?}"),
        }
        other.ask(&remove("b")).unwrap();
        drop((one, other));
        served.stop();
    }
}

#[test]
fn a_client_that_makes_no_progress_is_ended_and_its_bytes_are_kept() {
    let site = Site::new();
    let content = content(3_000_000);
    fs::write(site.home("big"), &content).unwrap();
    for mixin in ["threading", "reactor"] {
        let mut served = site.serve(&["--mixin", mixin, "--progress-timeout", "0.3"]);
        let mut silent = Raw::log_in(&served);
        let begin = Instant::now();
        silent.put("a", &content).unwrap();
        silent.part(0, &content[..100_000]);
        // Reads nothing, so that the server cannot send.
        let mut deaf = Raw::log_in(&served);
        for _ in 0..20 {
            let get = Request {
                path: Some("big".to_owned()),
                ..Request::new("get")
            };
            get.write(&mut deaf.0).unwrap();
        }
        assert_eq!(silent.0.read(&mut [0]).unwrap_or(0), 0);
        assert!(begin.elapsed() >= Duration::from_millis(300));
        let mut next = Raw::log_in(&served);
        match next.put("a", &content).unwrap() {
            Answer::Send { offset, .. } => assert_eq!(offset, 100_000),
            other => panic!("{other:?}"),
        }
        fs::remove_file(partial(&site)).unwrap();
        drop((next, silent));
        for _ in ["silent", "deaf"] {
            served.wait_for_log("progress deadline");
        }
        // Whoever reads late finds the end of the connection.
        let mut received = Vec::new();
        let _ = deaf.0.read_to_end(&mut received);
        assert!(received.len() < 20 * content.len());
        served.stop();
    }
}

/// The partial file in the home.
fn partial(site: &Site) -> std::path::PathBuf {
    let mut names = super::site::names(&site.home("")).into_iter();
    site.home(&names.find(|name| name.ends_with(".part")).unwrap())
}

#[test]
fn the_upload_of_a_user_who_is_removed_is_refused() {
    let site = Site::new();
    let content = content(300);
    let all_users = fs::read_to_string(site.path("users")).unwrap();
    let other_users = all_users.split_inclusive('\n').skip(1).collect::<String>();
    for mixin in ["threading", "reactor", "forking"] {
        for is_complete in [false, true] {
            let served = site.serve(&["--mixin", mixin]);
            let mut client = Raw::log_in(&served);
            client.put("a", &content).unwrap();
            client.part(0, &content[..200]);
            if is_complete {
                client.part(200, &content[200..]);
            }
            let sent = if is_complete { 300 } else { 200 };
            eventually("the parts are there", || {
                fs::metadata(partial(&site)).unwrap().len() == sent
            });
            fs::write(site.path("new"), &other_users).unwrap();
            fs::rename(site.path("new"), site.path("users")).unwrap();
            let refused = match is_complete {
                true => client.end(&content),
                false => {
                    client.part(200, &content[200..]);
                    client.read()
                }
            };
            assert_eq!(refused.unwrap_err().code(), Code::AccountChanged, "{mixin}");
            assert_eq!(client.0.read(&mut [0]).unwrap_or(0), 0, "{mixin}");
            assert!(!site.home("a").exists(), "{mixin}");
            fs::write(site.path("users"), &all_users).unwrap();
            fs::remove_file(partial(&site)).unwrap();
            served.stop();
        }
    }
}

#[test]
fn the_kernel_asks_whether_the_machine_of_a_silent_client_is_still_there() {
    let site = Site::new();
    let served = site.serve(&[]);
    let client = Raw::log_in(&served);
    let [local, remote] = [client.0.peer_addr(), client.0.local_addr()].map(|it| it.unwrap());
    let [local, remote] = [local, remote].map(|it| format!(":{:04X}", it.port()));
    let timer = || {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().map(|row| row.split_whitespace());
        // The connection as the server has it.
        let row = rows.find_map(|row| {
            let row = Vec::from_iter(row);
            let is_row = row[1].ends_with(&local) && row[2].ends_with(&remote);
            is_row.then(|| row[5].to_owned())
        });
        row.unwrap()
    };
    let is_of_keepalive = || {
        let timer = timer();
        let (kind, left) = timer.split_once(':').unwrap();
        // 1 is the timer of bytes that are not acknowledged yet, 2 that of the keepalive. The time
        // is in hundredths of a second.
        assert!(matches!(kind, "01" | "02"), "{timer}");
        kind == "02" && u32::from_str_radix(left, 16).unwrap() <= 1000
    };
    eventually("the keepalive runs", is_of_keepalive);
    served.stop();
}

#[test]
fn a_slow_client_has_as_long_as_it_needs_while_bytes_move() {
    let site = Site::new();
    // Together longer than the bound.
    let served = site.serve(&["--idle-timeout", "2", "--progress-timeout", "2"]);
    let mut slow = Raw::log_in(&served);
    let content = content(300);
    slow.put("a", &content).unwrap();
    let begin = Instant::now();
    for (number, piece) in content.chunks(10).enumerate() {
        slow.part(10 * number as u64, piece);
        std::thread::sleep(Duration::from_millis(80));
    }
    assert!(begin.elapsed() > Duration::from_secs(2));
    slow.end(&content).unwrap();
    assert_eq!(fs::read(site.home("a")).unwrap(), content);
    served.stop();
}

#[test]
fn a_server_that_stops_lets_a_transfer_end() {
    let site = Site::new();
    for mixin in ["threading", "reactor", "forking"] {
        let served = site.serve(&["--mixin", mixin]);
        let mut client = Raw::log_in(&served);
        let mut idle = Raw::log_in(&served);
        client.put("a", b"hello").unwrap();
        client.part(0, b"he");
        served.signal(nix::sys::signal::Signal::SIGTERM);
        // The idle connection is closed at once.
        assert_eq!(idle.0.read(&mut [0]).unwrap(), 0);
        client.part(2, b"llo");
        assert!(
            matches!(client.end(b"hello"), Ok(Answer::Stored { .. })),
            "{mixin}"
        );
        assert_eq!(client.0.read(&mut [0]).unwrap(), 0);
        let (status, _, log) = served.exit();
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(fs::read(site.home("a")).unwrap(), b"hello");
        fs::remove_file(site.home("a")).unwrap();
    }
}

#[test]
fn a_refusal_in_the_middle_is_read_although_the_client_goes_on_sending() {
    let site = Site::new();
    let served = site.serve(&[]);
    let mut client = Raw::log_in(&served);
    let content = content(2_000_000);
    client.put("a", &content).unwrap();
    client.part(0, &content[..1_000_000]);
    // A part that does not fit; the rest is sent before the refusal is read.
    client.part(5, &content[..1_000_000]);
    client.part(1_000_000, &content[1_000_000..]);
    let refusal = client.read().unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.offset()),
        (Code::BadRequest, Some(1_000_000))
    );
    match client.put("a", &content).unwrap() {
        Answer::Send { offset, .. } => assert_eq!(offset, 1_000_000),
        other => panic!("{other:?}"),
    }
    client.part(1_000_000, &content[1_000_000..]);
    client.end(&content).unwrap();
    assert!(fs::read(site.home("a")).unwrap() == content);
    // A download for the eye of this test, whose answer is whole.
    assert!(matches!(
        client.get("a"),
        Ok(Answer::Begin { offset: 0, .. })
    ));
    served.stop();
}
