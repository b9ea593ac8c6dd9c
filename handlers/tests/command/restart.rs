//! SIGUSR2: a successor takes the sockets over, and no client notices.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::short_paths::directory;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

const MIX_INS: [&str; 5] = ["none", "threading", "forking", "pool", "reactor"];

/// A server, and the process that serves now.
struct Restarted {
    served: Served,
    process: i32,
}

impl Restarted {
    fn new(served: Served) -> Self {
        let process = served.process_id().try_into().unwrap();
        Self { served, process }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.process), signal).unwrap();
    }

    /// Has a successor take over, and waits until it has.
    fn restart(&mut self) {
        self.signal(Signal::SIGUSR2);
        let line = self.served.wait_for_log("the successor, process");
        let number = line.split("process ").nth(1).unwrap();
        self.process = number.split(',').next().unwrap().parse().unwrap();
    }

    /// Stops the server that serves now, and waits until every process has ended. Returns the log.
    fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let log = self.served.rest_of_log();
        self.served.exit();
        log
    }
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    answered: AtomicUsize,
    lost: AtomicUsize,
    ends: AtomicBool,
}

impl Seen {
    /// Repeats an exchange until the end.
    fn repeat(&self, exchange: impl Fn() -> io::Result<bool>) {
        while !self.ends.load(Relaxed) {
            match exchange() {
                Ok(true) => self.answered.fetch_add(1, Relaxed),
                Ok(false) => {
                    println!("unanswered");
                    self.lost.fetch_add(1, Relaxed)
                }
                Err(error) => {
                    println!("{error}");
                    self.lost.fetch_add(1, Relaxed)
                }
            };
        }
    }

    /// Waits until there are more answers than now by `count`.
    fn wait_for(&self, count: usize) {
        let enough = self.answered.load(Relaxed) + count;
        let begun = Instant::now();
        while self.answered.load(Relaxed) < enough {
            assert!(begun.elapsed() < SAFETY_NET, "too few answers");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Connects, sends a message, reads the answer to its end, and closes.
fn over_stream<S: Read + Write>(connect: impl Fn() -> io::Result<S>) -> io::Result<bool> {
    let mut client = connect()?;
    client.write_all(b"hello")?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer)?;
    Ok(answer == b"HELLO")
}

/// Many clients over TCP and a Unix socket, through some restarts. Returns the answers.
fn restarts_lose_no_client(
    mixin: &str,
    clients: usize,
    restarts: usize,
    between: Duration,
) -> usize {
    let directory = directory();
    let path = directory.path().join("socket");
    let mut command = socketserver(&["serve", "upper", "--mixin", mixin]);
    command.args(["--listen", "tcp://127.0.0.1:0"]);
    command
        .arg("--listen")
        .arg(format!("unix://{}", path.display()));
    let mut server = Restarted::new(Served::run(command));
    let address = server.served.address();
    let seen = Seen::default();
    let tcp = || {
        let client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(SAFETY_NET))?;
        Ok(client)
    };
    let unix = || {
        let client = UnixStream::connect(&path)?;
        client.set_read_timeout(Some(SAFETY_NET))?;
        Ok(client)
    };
    std::thread::scope(|scope| {
        for number in 0..clients {
            let seen = &seen;
            scope.spawn(move || match number % 4 {
                0 => seen.repeat(|| over_stream(unix)),
                _ => seen.repeat(|| over_stream(tcp)),
            });
        }
        let end = End(&seen);
        for _ in 0..restarts {
            seen.wait_for(2 * clients);
            std::thread::sleep(between);
            server.restart();
        }
        seen.wait_for(2 * clients);
        drop(end);
    });
    assert_eq!(seen.lost.load(Relaxed), 0, "{mixin}");
    assert!(path.exists(), "{mixin}");
    let log = server.stop();
    assert!(!path.exists(), "{mixin}");
    assert!(!log.contains(" ERROR "), "{log}");
    seen.answered.load(Relaxed)
}

/// Ends the clients, after a failure too.
struct End<'a>(&'a Seen);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ends.store(true, Relaxed);
    }
}

#[test]
fn with_each_mix_in_no_client_is_refused_reset_or_unanswered_through_restarts() {
    for mixin in MIX_INS {
        restarts_lose_no_client(mixin, 8, 3, Duration::ZERO);
    }
}

/// The long form, by hand:
/// `cargo test --release -p socketserver-handlers --test command -- --ignored --nocapture restart`.
#[test]
#[ignore = "a minute for each mix-in"]
fn ten_restarts_in_a_minute_lose_none_of_32_clients() {
    for mixin in MIX_INS {
        let begun = Instant::now();
        let answered = restarts_lose_no_client(mixin, 32, 10, Duration::from_millis(5800));
        let seconds = begun.elapsed().as_secs();
        println!("{mixin}: {answered} answers in {seconds} s, ten restarts, no client lost");
    }
}

#[test]
fn with_each_mix_in_no_datagram_is_unanswered_through_restarts() {
    for mixin in MIX_INS {
        let directory = directory();
        let path = directory.path().join("socket");
        let mut command = socketserver(&["serve", "echo", "--mixin", mixin]);
        command.args(["--listen", "udp://127.0.0.1:0"]);
        command
            .arg("--listen")
            .arg(format!("unixgram://{}", path.display()));
        let mut server = Restarted::new(Served::run(command));
        let address: SocketAddr = server.served.address();
        let seen = Seen::default();
        let udp = || {
            let client = UdpSocket::bind("127.0.0.1:0")?;
            client.set_read_timeout(Some(SAFETY_NET))?;
            client.send_to(b"hello", address)?;
            Ok(client.recv(&mut [0; 10])? == 5)
        };
        std::thread::scope(|scope| {
            for number in 0..4 {
                let (seen, path, directory) = (&seen, &path, directory.path());
                scope.spawn(move || match number {
                    // A name for each exchange: the server takes a client that sends without a
                    // pause for another service that answers everything.
                    0 => {
                        let names = AtomicUsize::new(0);
                        seen.repeat(|| {
                            let name = format!("client-{}", names.fetch_add(1, Relaxed));
                            unix_datagram(path, &directory.join(name))
                        });
                    }
                    _ => seen.repeat(udp),
                });
            }
            let end = End(&seen);
            for _ in 0..3 {
                seen.wait_for(20);
                server.restart();
            }
            seen.wait_for(20);
            drop(end);
        });
        assert_eq!(seen.lost.load(Relaxed), 0, "{mixin}");
        server.stop();
        assert!(!path.exists(), "{mixin}");
    }
}

fn unix_datagram(server: &PathBuf, own: &PathBuf) -> io::Result<bool> {
    let client = UnixDatagram::bind(own)?;
    client.set_read_timeout(Some(SAFETY_NET))?;
    client.send_to(b"hello", server)?;
    let is_answered = client.recv(&mut [0; 10])? == 5;
    fs::remove_file(own)?;
    Ok(is_answered)
}

#[test]
fn requests_of_the_predecessor_end_as_they_would_have() {
    for mixin in MIX_INS {
        let options = ["--mixin", mixin];
        let mut server = Restarted::new(Served::start("echo", "tcp://127.0.0.1:0", &options));
        let mut busy = server.served.connect();
        busy.write_all(b"unfinished").unwrap();
        let first = server.process;
        server.restart();
        assert_ne!(server.process, first);
        busy.write_all(b"\n").unwrap();
        busy.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(busy), b"unfinished\n", "{mixin}");
        let mut new = server.served.connect();
        new.write_all(b"new\n").unwrap();
        new.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(new), b"new\n", "{mixin}");
        server.stop();
    }
}

/// A server that needs a file at its start.
fn with_key(options: &[&str]) -> (tempfile::TempDir, PathBuf, Restarted) {
    let directory = directory();
    let [key, socket] = ["key", "socket"].map(|name| directory.path().join(name));
    fs::write(&key, "secret").unwrap();
    let url = format!("unix://{}", socket.display());
    let key_option = ["--auth-key-file", key.to_str().unwrap()];
    let served = Served::start("echo", &url, &[&key_option, options].concat());
    (directory, key, Restarted::new(served))
}

/// Whether the server sends its challenge.
fn is_served(directory: &tempfile::TempDir) -> bool {
    let mut client = UnixStream::connect(directory.path().join("socket")).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.read_exact(&mut [0; 32]).is_ok()
}

#[test]
fn a_successor_that_fails_leaves_the_server_as_it_is() {
    let (directory, key, mut server) = with_key(&[]);
    fs::remove_file(&key).unwrap();
    for _ in 0..2 {
        server.signal(Signal::SIGUSR2);
        // What the successor prints, and what the predecessor does.
        let reason = server.served.wait_for_log("socketserver: ");
        assert!(reason.contains("key"), "{reason}");
        let line = server.served.wait_for_log("the restart failed");
        assert!(line.contains("ended before it was ready"), "{line}");
        assert!(is_served(&directory));
    }
    fs::write(&key, "secret").unwrap();
    server.restart();
    assert!(is_served(&directory));
    server.stop();
}

#[test]
fn a_successor_that_is_late_leaves_the_server_as_it_is_and_is_ended() {
    let (directory, key, mut server) = with_key(&["--restart-timeout", "0.3"]);
    fs::remove_file(&key).unwrap();
    nix::unistd::mkfifo(&key, nix::sys::stat::Mode::S_IRWXU).unwrap();
    server.signal(Signal::SIGUSR2);
    let line = server.served.wait_for_log("the restart failed");
    assert!(line.contains("within 0.3 seconds"), "{line}");
    assert!(is_served(&directory));
    let log = server.stop();
    assert!(log.contains("stopped; requests"), "{log}");
}

#[test]
fn a_stop_while_a_successor_starts_stops_both() {
    let (directory, key, mut server) = with_key(&["--restart-timeout", "20"]);
    fs::remove_file(&key).unwrap();
    nix::unistd::mkfifo(&key, nix::sys::stat::Mode::S_IRWXU).unwrap();
    server.signal(Signal::SIGUSR2);
    // The successor has opened its key, and waits.
    let mut writer = fs::File::options().write(true).open(&key).unwrap();
    server.signal(Signal::SIGTERM);
    server.served.wait_for_log("stopped; requests");
    writer.write_all(b"secret").unwrap();
    drop(writer);
    // Both have ended, and nothing is left.
    let log = server.served.rest_of_log();
    assert!(!log.contains("is ready"), "{log}");
    assert!(UnixStream::connect(directory.path().join("socket")).is_err());
}

#[test]
fn a_server_with_an_operator_at_standard_input_has_no_successor() {
    let mut server = Restarted::new(Served::start("chat", "tcp://127.0.0.1:0", &[]));
    server.signal(Signal::SIGUSR2);
    let line = server.served.wait_for_log("the restart failed");
    assert!(line.contains("operator"), "{line}");
    server.stop();
}

#[test]
fn the_predecessor_names_its_successor_to_the_service_manager_and_then_is_silent() {
    let directory = directory();
    let place = directory.path().join("notify");
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(SAFETY_NET)).unwrap();
    let mut command = socketserver(&["serve", "echo", "--listen", "tcp://127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &place);
    command.env("WATCHDOG_USEC", "200000");
    let mut server = Restarted::new(Served::run(command));
    server.restart();
    server.served.wait_for_log("stopped; requests");
    let successor = server.process;
    server.stop();
    manager.set_nonblocking(true).unwrap();
    let mut messages = Vec::new();
    let mut buffer = [0; 500];
    while let Ok(length) = manager.recv(&mut buffer) {
        messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    let count = |text: &str| messages.iter().filter(|it| it.contains(text)).count();
    // Its own, and that of the predecessor.
    assert!(count(&format!("MAINPID={successor}")) >= 2, "{messages:?}");
    assert_eq!(count("STOPPING=1"), 1, "{messages:?}");
    assert!(count("WATCHDOG=1") >= 1, "{messages:?}");
}

#[test]
fn a_successor_takes_every_shard_over() {
    let mut served = {
        let mut command = socketserver(&["serve", "echo", "--shards", "2"]);
        command.args([
            "--listen",
            "tcp://127.0.0.1:0",
            "--listen",
            "udp://127.0.0.1:0",
        ]);
        Restarted::new(Served::run(command))
    };
    served.restart();
    served.restart();
    for _ in 0..8 {
        assert_eq!(
            exchange(&mut served.served.connect(), b"hello", 5),
            b"hello"
        );
    }
    served.stop();
}

#[cfg(feature = "metrics")]
#[test]
fn a_successor_takes_the_address_of_the_metrics_over() {
    let options = ["--metrics", "tcp://127.0.0.1:0"];
    let mut server = Restarted::new(Served::start("echo", "tcp://127.0.0.1:0", &options));
    let metrics = crate::metrics::Metrics::of(&mut server.served);
    let url = server.served.url().to_owned();
    for _ in 0..2 {
        server.restart();
        server.served.wait_for_log("stopped; requests");
        let mut client = server.served.connect();
        assert_eq!(exchange(&mut client, b"hello", 5), b"hello");
        drop(client);
        // The numbers begin anew in each process.
        let ended = "socketserver_connections_ended_total";
        metrics.wait_for(&format!(
            "{ended}{{listener=\"{url}\",outcome=\"finished\"}} 1"
        ));
    }
    server.stop();
}

#[test]
fn programs_for_clients_go_on_through_a_restart_and_new_clients_have_the_successor_s() {
    let mut command = socketserver(&["exec", "--listen", "tcp://127.0.0.1:0"]);
    command.args(["--", "cat"]);
    let mut server = Restarted::new(Served::run(command));
    let mut old = server.served.connect();
    assert_eq!(exchange(&mut old, b"before", 6), b"before");
    server.restart();
    let mut new = server.served.connect();
    assert_eq!(exchange(&mut new, b"hello", 5), b"hello");
    assert_eq!(exchange(&mut old, b"behind", 6), b"behind");
    for client in [old, new] {
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rest(client), b"");
    }
    server.stop();
}
