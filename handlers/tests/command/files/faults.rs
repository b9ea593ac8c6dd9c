//! Servers that do not do their part: whatever they send, nothing wrong has a name here.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use socketserver_handlers::files::{Answer, Code, Entry, Greeting, Kind, Refusal, Request};

use super::site::{Site, names, stderr};

/// What a server sends for a command.
enum Reply {
    /// Messages, after which the conversation goes on.
    GoOn(Vec<u8>),
    /// Messages, after which the server closes the connection.
    Last(Vec<u8>),
}

/// Without a byte, the server only closes.
impl From<Vec<u8>> for Reply {
    fn from(messages: Vec<u8>) -> Self {
        match messages.is_empty() {
            true => Self::Last(messages),
            false => Self::GoOn(messages),
        }
    }
}

/// A server that answers commands after the login with the messages of `answer`, or closes.
fn serve<R: Into<Reply>>(answer: impl Fn(&Request) -> R + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            // A client that leaves ends its conversation alone.
            let _ = talk(client.unwrap(), &answer);
        }
    });
    url
}

fn talk<R: Into<Reply>>(
    mut client: TcpStream,
    answer: &impl Fn(&Request) -> R,
) -> std::io::Result<()> {
    Greeting::new().write(&mut client)?;
    while let Some(request) = Request::read(&mut client)? {
        let reply = match &*request.command {
            "login" => Reply::GoOn(message(&Answer::Welcome {
                user: "ada".to_owned(),
                path: "/".to_owned(),
                quota: None,
            })),
            _ => answer(&request).into(),
        };
        match reply {
            Reply::GoOn(bytes) => client.write_all(&bytes)?,
            Reply::Last(bytes) => {
                client.write_all(&bytes)?;
                break;
            }
        }
    }
    Ok(())
}

fn message(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::new();
    answer.write(&mut bytes).unwrap();
    bytes
}

fn entry(name: &str, kind: Kind) -> Entry {
    Entry {
        name: name.to_owned(),
        kind,
        size: 5,
        modified: 0,
        version: Some("1".to_owned()),
    }
}

/// A server with one file of five bytes, whose download is `download`.
fn with_download(download: Vec<u8>) -> String {
    serve(move |request| match &*request.command {
        "stat" => message(&Answer::Entry {
            entry: entry("a", Kind::File),
        }),
        _ => download.clone(),
    })
}

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

/// The messages of a download.
fn download(begin: u64, offset: u64, body: &[u8], hash: &str) -> Vec<u8> {
    let version = "1".to_owned();
    let (size, data_size) = (5, body.len() as u64);
    let hash = hash.to_owned();
    [
        message(&Answer::Begin {
            size,
            version,
            offset: begin,
        }),
        message(&Answer::Part { offset, data_size }),
        body.to_vec(),
        message(&Answer::Sent { size, hash }),
    ]
    .concat()
}

#[test]
fn a_download_that_is_wrong_in_any_way_never_has_its_name() {
    let site = Site::new();
    let good = with_download(download(0, 0, b"hello", HELLO));
    site.succeed(&good, &["get", "a", "good"]);
    let whole = download(0, 0, b"hello", HELLO);
    let cases = [
        download(0, 0, b"jello", HELLO),
        download(0, 0, b"hello", &"0".repeat(64)),
        download(0, 0, b"hello", "nonsense"),
        download(0, 0, b"hell", HELLO),
        download(0, 0, b"hello, world", HELLO),
        download(0, 3, b"hello", HELLO),
        download(3, 3, b"lo", HELLO),
        whole[..whole.len() - 30].to_vec(),
        b"\xff\xff\xff\x7f".to_vec(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        message(&Answer::Bye),
        Vec::new(),
    ];
    for (number, wrong) in cases.into_iter().enumerate() {
        let url = with_download(wrong);
        // One of the servers waits, as the client does.
        let options = ["--retries", "0", "--timeout", "1", "get", "a"];
        let output = site.run(&url, &options);
        assert_eq!(output.status.code(), Some(1), "{number}");
        assert!(!site.local("a").exists(), "{number}");
        for name in names(&site.local("")) {
            if name.ends_with(".part") {
                fs::remove_file(site.local(&name)).unwrap();
            }
        }
    }
    assert_eq!(names(&site.local("")), ["good"]);
}

#[test]
fn whatever_names_a_server_sends_nothing_is_written_elsewhere() {
    let site = Site::new();
    fs::create_dir(site.local("target")).unwrap();
    symlink("..", site.local("target/link")).unwrap();
    for name in [
        "../evil",
        "..",
        ".",
        "",
        "/tmp/evil",
        "x/../../evil",
        "%2e%2e%2fevil",
        "a%00",
        "a%",
    ] {
        for kind in [Kind::File, Kind::Directory] {
            let name = name.to_owned();
            let url = serve(move |request| match &*request.command {
                "stat" if request.path.as_deref() == Some("/") => message(&Answer::Entry {
                    entry: entry("", Kind::Directory),
                }),
                "stat" => message(&Answer::Entry {
                    entry: entry("a", Kind::File),
                }),
                "list" => [
                    message(&Answer::Entries {
                        entries: vec![entry(&name, kind)],
                    }),
                    message(&Answer::End { count: 1 }),
                ]
                .concat(),
                _ => download(0, 0, b"hello", HELLO),
            });
            let output = site.run(&url, &["--retries", "0", "get", "-r", "/", "target"]);
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        }
    }
    // A directory of the server, where a link is here.
    let url = serve(
        |request| match (&*request.command, request.path.as_deref()) {
            ("stat", Some("/")) => message(&Answer::Entry {
                entry: entry("", Kind::Directory),
            }),
            ("stat", _) => message(&Answer::Entry {
                entry: entry("a", Kind::File),
            }),
            ("list", Some("/")) => [
                message(&Answer::Entries {
                    entries: vec![entry("link", Kind::Directory)],
                }),
                message(&Answer::End { count: 1 }),
            ]
            .concat(),
            ("list", _) => [
                message(&Answer::Entries {
                    entries: vec![entry("a", Kind::File)],
                }),
                message(&Answer::End { count: 1 }),
            ]
            .concat(),
            _ => download(0, 0, b"hello", HELLO),
        },
    );
    let output = site.run(&url, &["--retries", "0", "get", "-f", "-r", "/", "target"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(names(&site.local("")), ["target"]);
    assert_eq!(names(&site.local("target")), ["link"]);
}

#[test]
fn a_tree_without_end_has_an_end_here() {
    let site = Site::new();
    let url = serve(|request| match &*request.command {
        "stat" => message(&Answer::Entry {
            entry: entry("", Kind::Directory),
        }),
        _ => [
            message(&Answer::Entries {
                entries: vec![entry("d", Kind::Directory)],
            }),
            message(&Answer::End { count: 1 }),
        ]
        .concat(),
    });
    let output = site.run(&url, &["get", "-r", "/"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("too deep"), "{}", stderr(&output));
}

#[test]
fn an_upload_that_the_server_has_not_stored_is_a_failure() {
    let site = Site::new();
    fs::write(site.local("a"), "hello").unwrap();
    let stored = |size: u64, hash: &str| {
        let hash = hash.to_owned();
        message(&Answer::Stored { size, hash })
    };
    for (answer, is_stored) in [
        (stored(5, HELLO), true),
        (stored(4, HELLO), false),
        (stored(5, &"0".repeat(64)), false),
        (message(&Answer::Bye), false),
        (Vec::new(), false),
    ] {
        // The body of the put is not read: the conversation has no more messages.
        let url = serve(move |_| answer.clone());
        let output = site.run(&url, &["--retries", "0", "put", "a"]);
        assert_eq!(output.status.success(), is_stored, "{}", stderr(&output));
    }
}

#[test]
fn a_connection_that_breaks_is_made_again_as_often_as_the_user_wants() {
    let site = Site::new();
    for command in ["ls", "du", "cd"] {
        let url = serve(|_| Vec::new());
        let output = site.run(&url, &["--retries", "1", command]);
        assert_eq!(output.status.code(), Some(1));
        let shown = stderr(&output);
        assert!(shown.contains("try 1 of 1 in 1 s"), "{command}: {shown}");
        assert!(shown.contains("the server closed"), "{command}: {shown}");
    }
}

/// A message of a list, with these many files.
fn entries(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let entries = numbers.map(|number| entry(&format!("{number:06}"), Kind::File));
    let entries = entries.collect();
    message(&Answer::Entries { entries })
}

#[test]
fn a_list_that_breaks_off_is_asked_for_again_and_shown_once() {
    let site = Site::new();
    for sent in [Vec::new(), entries(0..3)] {
        let lists = AtomicU32::new(0);
        let url = serve(move |_| match lists.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::Last(sent.clone()),
            _ => Reply::GoOn([entries(0..5), message(&Answer::End { count: 5 })].concat()),
        });
        let output = site.run(&url, &["ls"]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains("try 1"), "{}", stderr(&output));
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.lines().count(), 5, "{shown}");
    }
    // The file of which ls shows the line, in the place of a directory.
    let stats = AtomicU32::new(0);
    let url = serve(move |request| match &*request.command {
        "list" => {
            let mut refusal = Vec::new();
            let no_directory = Refusal::new(Code::NotADirectory);
            no_directory.write(&mut refusal).unwrap();
            refusal
        }
        _ if stats.fetch_add(1, Ordering::Relaxed) == 0 => Vec::new(),
        _ => message(&Answer::Entry {
            entry: entry("a", Kind::File),
        }),
    });
    assert!(site.succeed(&url, &["ls", "a"]).ends_with(" a\n"));
}

#[test]
fn a_list_that_breaks_off_after_a_part_was_shown_fails_and_is_not_repeated() {
    let site = Site::new();
    let begin = (0..25).flat_map(|number| entries(500 * number..500 * number + 500));
    let begin = Vec::from_iter(begin);
    let mut refusal = Vec::new();
    Refusal::new(Code::Busy).write(&mut refusal).unwrap();
    for end in [Vec::new(), refusal] {
        let lists = Arc::new(AtomicU32::new(0));
        let (counted, reply) = (lists.clone(), [&*begin, &end].concat());
        let url = serve(move |request| {
            if request.command == "list" {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Reply::Last(reply.clone())
        });
        let output = site.run(&url, &["ls"]);
        assert_eq!(output.status.code(), Some(1));
        let expected = "the list is not complete: ";
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        assert_eq!(lists.load(Ordering::Relaxed), 1);
        let shown = String::from_utf8(output.stdout).unwrap();
        let mut lines = Vec::from_iter(shown.lines());
        assert!(lines.len() >= 10_000, "{}", lines.len());
        lines.dedup();
        assert_eq!(lines.len(), shown.lines().count());
    }
}

#[test]
fn a_download_that_is_refused_again_and_again_has_an_end_although_bytes_move() {
    let changed = |sent: usize| {
        let mut refusal = Vec::new();
        Refusal::new(Code::Changed).write(&mut refusal).unwrap();
        let whole = download(0, 0, &b"hello"[..sent], HELLO);
        let end = message(&Answer::Sent {
            size: 5,
            hash: HELLO.to_owned(),
        });
        [&whole[..whole.len() - end.len()], &refusal].concat()
    };
    let cases = [changed(2), changed(5), download(0, 0, b"jello", HELLO)];
    for (number, wrong) in cases.into_iter().enumerate() {
        let site = Site::new();
        // A client that went on trying would have success at last.
        let tries = AtomicU32::new(0);
        let url = serve(move |request| match &*request.command {
            "stat" => message(&Answer::Entry {
                entry: entry("a", Kind::File),
            }),
            _ if tries.fetch_add(1, Ordering::Relaxed) < 3 => wrong.clone(),
            _ => download(0, 0, b"hello", HELLO),
        });
        let output = site.run(&url, &["--retries", "1", "get", "a"]);
        let shown = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{number}: {shown}");
        assert_eq!(shown.matches("; try 1 of 1 in 1 s").count(), 1, "{shown}");
        assert!(!site.local("a").exists());
    }
}

#[test]
fn the_count_of_tries_begins_again_when_a_connection_breaks_after_bytes_have_moved() {
    let site = Site::new();
    let breaks = AtomicU32::new(0);
    let url = serve(move |request| match (&*request.command, request.offset) {
        ("stat", _) => Reply::GoOn(message(&Answer::Entry {
            entry: entry("a", Kind::File),
        })),
        (_, Some(offset)) if breaks.fetch_add(1, Ordering::Relaxed) < 2 => {
            let begin = usize::try_from(offset).unwrap();
            let whole = download(offset, offset, &b"hello"[begin..=begin], HELLO);
            let end = message(&Answer::Sent {
                size: 5,
                hash: HELLO.to_owned(),
            });
            Reply::Last(whole[..whole.len() - end.len()].to_vec())
        }
        _ => Reply::GoOn(download(2, 2, b"llo", HELLO)),
    });
    let output = site.run(&url, &["--retries", "1", "get", "a"]);
    let shown = stderr(&output);
    assert!(output.status.success(), "{shown}");
    assert_eq!(shown.matches("; try 1 of 1 in 1 s").count(), 2, "{shown}");
    assert_eq!(fs::read(site.local("a")).unwrap(), b"hello");
}

#[test]
fn a_command_whose_answer_is_lost_is_not_repeated_and_the_user_learns_what_is_not_known() {
    let site = Site::new();
    for (command, arguments) in [
        ("mkdir", ["mkdir", "d"].as_slice()),
        ("remove", &["rm", "a"]),
        ("rename", &["mv", "a", "b"]),
    ] {
        let (sent, received) = std::sync::mpsc::channel();
        let url = serve(move |request| {
            sent.send(request.command.clone()).unwrap();
            let mut missing = Vec::new();
            if request.command == "stat" {
                Refusal::new(Code::NotFound).write(&mut missing).unwrap();
            }
            missing
        });
        let output = site.run(&url, arguments);
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("{command} has perhaps been carried out; ls shows what is there");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
        let received = Vec::from_iter(received.try_iter());
        let times = received.iter().filter(|it| *it == command).count();
        assert_eq!(times, 1, "{received:?}");
    }
}

/// Fails if bytes would control a terminal.
fn assert_harmless(shown: &[u8]) {
    let text = str::from_utf8(shown).unwrap();
    assert!(
        !text.chars().any(|it| it.is_control() && it != '\n'),
        "{text:?}"
    );
}

#[test]
fn what_a_server_sends_never_controls_the_terminal() {
    let site = Site::new();
    let evil = "\x1b[2J\x1b]0;title\x07\r\nsocketserver: fake\x7f\u{9b}2J";
    for code in [Code::Unavailable, Code::Changed] {
        let url = serve(move |_| {
            let mut refusal = Vec::new();
            Refusal::new(code).about(evil).write(&mut refusal).unwrap();
            refusal
        });
        let commands: [&[&str]; 8] = [
            &["ls"],
            &["du"],
            &["cd", "d"],
            &["mkdir", "d"],
            &["get", "a"],
            &["get", "-r", "a"],
            &["mv", "a", "b"],
            &["rm", "a"],
        ];
        for command in commands {
            let output = site.run(&url, &[&["--retries", "0"], command].concat());
            assert_eq!(output.status.code(), Some(1));
            assert_harmless(&output.stdout);
            assert_harmless(&output.stderr);
            let shown = stderr(&output);
            assert!(
                shown.contains(r"\x1b[2J\x1b]0;title\x07\r\nsocketserver: fake"),
                "{shown}"
            );
            assert_eq!(shown.lines().count(), 1, "{shown}");
        }
        let output = site.script(&url, &["--continue", "--retries", "1"], "du\n");
        assert_harmless(&output.stderr);
    }
    // The names of a list, and a directory whose name the server has chosen.
    let url = serve(move |request| match &*request.command {
        "stat" => message(&Answer::Entry {
            entry: entry(evil, Kind::Directory),
        }),
        "cd" => message(&Answer::Directory {
            path: format!("/{evil}"),
        }),
        _ => [
            message(&Answer::Entries {
                entries: vec![entry(evil, Kind::Link), entry(evil, Kind::Other)],
            }),
            message(&Answer::End { count: 2 }),
        ]
        .concat(),
    });
    let output = site.script(&url, &[], "cd d\npwd\nls\nget -r / .\nget x\n");
    assert_harmless(&output.stdout);
    assert_harmless(&output.stderr);
    assert_eq!(stderr(&output).matches("left out").count(), 2);
}

#[test]
fn the_names_of_the_command_line_never_control_the_terminal() {
    let site = Site::new();
    let served = site.serve(&[]);
    let name = "\x1b[2J\x07\u{9b}\nx";
    fs::create_dir(site.home(name)).unwrap();
    fs::create_dir(site.local(name)).unwrap();
    let commands: [&[&str]; 9] = [
        &["ls", "missing\x1b[2J"],
        &["get", name],
        &["get", "missing\x1b[2J"],
        &["put", name],
        &["put", "missing\x1b[2J"],
        &["put", "password", "users", "missing\x1b[2J"],
        &["cd", "missing\x1b[2J"],
        &["mkdir", name],
        &["ls", "--missing\x1b[2J\x1b[31m"],
    ];
    for command in commands {
        let output = site.run(served.url(), command);
        assert!(!output.status.success(), "{command:?}");
        assert_harmless(&output.stderr);
        assert!(stderr(&output).contains(r"\x1b[2J"), "{}", stderr(&output));
    }
    served.stop();
}
