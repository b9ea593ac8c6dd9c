//! Uploads of large files: the hash comes last, and the source must not change before.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use socketserver_handlers::files::{
    Answer, Code, ContentDigest, Greeting, Refusal, Request, partial_name,
};

use super::site::{Site, content, names, stderr};

/// More than a message, and more than the buffers of two sockets.
const SIZE: usize = 24_000_000;

fn hash(content: &[u8]) -> String {
    let mut hasher = ContentDigest::Sha256.hasher();
    hasher.update(content);
    hasher.hex()
}

/// The name of the partial file for the content `up` of [`SIZE`] bytes.
fn partial() -> String {
    let size = SIZE.to_string();
    partial_name(b"up", &[size.as_bytes(), b"sha256"])
}

#[test]
fn an_upload_goes_on_with_the_bytes_of_its_source_and_with_no_others() {
    let site = Site::new();
    let served = site.serve(&[]);
    let content = content(SIZE);
    let mut other = content.clone();
    other[5_000_000] ^= 1;
    fs::write(site.local("up"), &content).unwrap();
    for (bytes, goes_on) in [
        (&content[..10_000_000], true),
        (&content[..], true),
        (&other[..10_000_000], false),
        (&other[..], false),
        // Another version, of which the same bytes have come.
        (&other[..4_000_000], true),
    ] {
        fs::write(site.home(&partial()), bytes).unwrap();
        let output = site.run(served.url(), &["put", "up"]);
        let shown = stderr(&output);
        assert!(output.status.success(), "{shown}");
        let line = format!("up: goes on at {} of {SIZE} bytes", bytes.len());
        assert_eq!(shown.contains(&line), goes_on, "{shown}");
        assert_eq!(names(&site.home("")), ["up"]);
        assert!(fs::read(site.home("up")).unwrap() == content);
        fs::remove_file(site.home("up")).unwrap();
    }
    served.stop();
}

#[test]
fn a_content_that_is_there_is_not_sent_again() {
    let site = Site::new();
    let served = site.serve(&[]);
    let mut content = content(SIZE);
    fs::write(site.local("up"), &content).unwrap();
    site.succeed(served.url(), &["put", "up"]);
    let before = fs::metadata(site.home("up")).unwrap();
    let is_same = || {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(site.home("up")).unwrap().ino() == before.ino()
    };
    site.succeed(served.url(), &["put", "up"]);
    site.succeed(served.url(), &["put", "-f", "up"]);
    assert!(is_same());
    content[SIZE - 1] ^= 1;
    fs::write(site.local("up"), &content).unwrap();
    let output = site.run(served.url(), &["put", "up"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("exists"), "{}", stderr(&output));
    site.succeed(served.url(), &["put", "-f", "up"]);
    assert!(fs::read(site.home("up")).unwrap() == content);
    served.stop();
}

/// Passes everything on, but the first answer `stored`: that connection breaks instead. Sends the
/// number of bytes of each connection's client.
fn lose_first_stored(server: SocketAddr) -> (String, mpsc::Receiver<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (counts, received) = mpsc::channel();
    thread::spawn(move || {
        let mut may_lose = true;
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut server = TcpStream::connect(server).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let upwards = thread::spawn(move || {
                let copied = io::copy(&mut from, &mut to).unwrap_or(0);
                let _ = to.shutdown(Shutdown::Write);
                copied
            });
            while let Some(message) = read_message(&mut server) {
                let is_stored = message.windows(8).any(|it| it == b"\"stored\"");
                if is_stored && std::mem::take(&mut may_lose) {
                    break;
                }
                client.write_all(&message).unwrap();
            }
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
            let _ = counts.send(upwards.join().unwrap());
        }
    });
    (url, received)
}

/// A message without a body; `None` at the end.
fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut header = vec![0; u32::from_le_bytes(length) as usize];
    stream.read_exact(&mut header).ok()?;
    Some([length.to_vec(), header].concat())
}

#[test]
fn an_upload_whose_last_answer_is_lost_is_not_sent_again_and_has_success() {
    let site = Site::new();
    let served = site.serve(&[]);
    for (name, size) in [("large", SIZE), ("small", 1000)] {
        for options in [["put"].as_slice(), &["put", "-f"]] {
            let content = content(size);
            fs::write(site.local(name), &content).unwrap();
            let (url, counts) = lose_first_stored(served.address());
            let output = site.run(&url, &[options, &[name]].concat());
            assert!(output.status.success(), "{}", stderr(&output));
            assert!(stderr(&output).contains("try 1"), "{}", stderr(&output));
            assert!(counts.recv().unwrap() >= size as u64);
            assert!(counts.recv().unwrap() < 5000, "{name}");
            assert!(fs::read(site.home(name)).unwrap() == content);
            fs::remove_file(site.home(name)).unwrap();
        }
    }
    served.stop();
}

/// A server for one upload. Answers `put` with `answer`, calls `at_first_part` when the first part
/// has come, and answers the end as a right server would. Returns the commands after the login.
fn serve_upload(
    answer: Answer,
    at_first_part: impl FnOnce() + Send + 'static,
) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        Greeting::new().write(&mut client).unwrap();
        let (mut commands, mut at_first_part) = (Vec::new(), Some(at_first_part));
        let mut size = 0;
        while let Ok(Some(request)) = Request::read(&mut client) {
            let mut body = Read::take(&mut client, request.data_size);
            if io::copy(&mut body, &mut io::sink()).unwrap() < request.data_size {
                break;
            }
            if request.command == "part" {
                if let Some(act) = at_first_part.take() {
                    act();
                }
                continue;
            }
            let written = match &*request.command {
                "login" => Answer::Welcome {
                    user: "ada".to_owned(),
                    path: "/".to_owned(),
                    quota: None,
                }
                .write(&mut client),
                "stat" => Refusal::new(Code::NotFound).write(&mut client),
                "put" => {
                    size = request.size.unwrap();
                    answer.write(&mut client)
                }
                "sent" => {
                    let hash = request.hash.clone().unwrap();
                    Answer::Stored { size, hash }.write(&mut client)
                }
                _ => Answer::Bye.write(&mut client),
            };
            commands.push(request.command);
            if written.is_err() {
                break;
            }
        }
        commands
    });
    (url, server)
}

fn from_start() -> Answer {
    Answer::Send {
        offset: 0,
        prefix_hash: hash(b""),
    }
}

/// What somebody does to the source.
type Change = Box<dyn Fn(&Path) + Send>;

#[test]
fn a_source_that_changes_while_it_is_sent_is_never_stored() {
    let write_at = |path: &Path, offset: u64| {
        let mut file = File::options().write(true).open(path).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(b"changed").unwrap();
    };
    let changes: [(&str, Change); 5] = [
        ("what was sent", Box::new(move |path| write_at(path, 0))),
        (
            "what is still to be sent",
            Box::new(move |path| write_at(path, SIZE as u64 - 10)),
        ),
        ("longer", Box::new(move |path| write_at(path, SIZE as u64))),
        (
            "shorter",
            Box::new(|path| {
                let file = File::options().write(true).open(path).unwrap();
                file.set_len(SIZE as u64 - 1).unwrap();
            }),
        ),
        ("replaced", Box::new(|path| fs::remove_file(path).unwrap())),
    ];
    for (what, change) in changes {
        let site = Site::new();
        let path = site.local("up");
        fs::write(&path, content(SIZE)).unwrap();
        // The client waits in a write, since the server reads no second part before the change.
        let (url, server) = serve_upload(from_start(), move || change(&path));
        let output = site.run(&url, &["put", "up"]);
        assert_eq!(output.status.code(), Some(1), "{what}");
        let shown = stderr(&output);
        assert!(
            shown.contains("up has changed while it was sent"),
            "{what}: {shown}"
        );
        assert_eq!(server.join().unwrap(), ["login", "stat", "put"], "{what}");
    }
}

#[test]
fn a_source_that_stays_is_stored() {
    let site = Site::new();
    fs::write(site.local("up"), content(SIZE)).unwrap();
    let (url, server) = serve_upload(from_start(), || {});
    site.succeed(&url, &["put", "up"]);
    let commands = server.join().unwrap();
    assert_eq!(commands, ["login", "stat", "put", "sent", "quit"]);
}

#[test]
fn an_answer_to_a_large_put_that_cannot_be_is_a_failure() {
    let site = Site::new();
    let content = content(SIZE);
    fs::write(site.local("up"), &content).unwrap();
    let (size, hash) = (SIZE as u64, hash(&content));
    let beyond = Answer::Send {
        offset: size + 1,
        prefix_hash: hash.clone(),
    };
    // The client has sent no hash, so that the server cannot know.
    let stored = Answer::Stored { size, hash };
    for answer in [beyond, stored, Answer::Bye] {
        let (url, server) = serve_upload(answer, || {});
        let output = site.run(&url, &["--retries", "0", "put", "up"]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert_eq!(server.join().unwrap(), ["login", "stat", "put"]);
    }
}
