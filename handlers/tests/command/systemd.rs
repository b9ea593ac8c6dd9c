//! The command under a service manager: sockets that it is passed, and what it reports.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::Signal;
use support::short_paths::directory;
use support::waiting::eventually;

use crate::served::{SAFETY_NET, Served, exchange, rest, socketserver};

/// The command with these sockets as its descriptors 3, 4 and so on.
pub fn pass(command: &mut Command, sockets: Vec<OwnedFd>, names: &str) {
    command.env("LISTEN_FDS", sockets.len().to_string());
    command.env("LISTEN_FDNAMES", names);
    let mapping = |(parent_fd, child_fd)| FdMapping {
        parent_fd,
        child_fd,
    };
    let mappings = sockets.into_iter().zip(3..).map(mapping).collect();
    command.fd_mappings(mappings).unwrap();
}

/// A service manager's socket for messages.
struct Manager {
    socket: UnixDatagram,
    place: String,
}

impl Manager {
    fn at(directory: &Path) -> Self {
        let path = directory.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::new(socket, path.display().to_string())
    }

    fn abstract_name(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self::new(socket, format!("@{name}"))
    }

    fn new(socket: UnixDatagram, place: String) -> Self {
        socket.set_read_timeout(Some(SAFETY_NET)).unwrap();
        Self { socket, place }
    }

    /// The next message, if one comes within this time.
    fn next_within(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut buffer = [0; 1000];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8(buffer[..length].to_vec()).unwrap()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Reads messages up to one that contains `text`.
    fn wait_for(&self, text: &str) -> String {
        loop {
            let message = self.next_within(SAFETY_NET);
            let message = message.unwrap_or_else(|| panic!("no message has {text:?}"));
            if message.contains(text) {
                return message;
            }
        }
    }
}

#[test]
fn a_manager_learns_that_the_server_is_ready_and_how_many_requests_are_left() {
    let directory = directory();
    let name = format!("socketserver-{}", std::process::id());
    for manager in [Manager::at(directory.path()), Manager::abstract_name(&name)] {
        let mut command = socketserver(&["serve", "time", "--listen", "tcp://127.0.0.1:0"]);
        command.args(["--listen", "udp://127.0.0.1:0"]);
        let served = Served::run({
            command.env("NOTIFY_SOCKET", &manager.place);
            command
        });
        let ready = manager.wait_for("READY=1");
        let process = format!("MAINPID={}", served.process_id());
        assert!(ready.lines().any(|line| line == process), "{ready}");
        let mut busy = served.connect();
        busy.write_all(b"%Y\nunfinished").unwrap();
        let mut year = [0; 5];
        busy.read_exact(&mut year).unwrap();
        served.signal(Signal::SIGTERM);
        let stopping = manager.wait_for("STOPPING=1");
        assert!(
            stopping.contains("STATUS=stopping, requests left: 1"),
            "{stopping}"
        );
        busy.write_all(b"\n").unwrap();
        assert_eq!(rest(busy), b"unfinished\n");
        let (status, _, log) = served.exit();
        assert_eq!(status, Some(0), "{log}");
    }
}

#[test]
fn a_server_whose_second_address_cannot_be_bound_is_never_ready() {
    let directory = directory();
    let manager = Manager::at(directory.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("tcp://{}", taken.local_addr().unwrap());
    let output = socketserver(&["serve", "echo", "--listen", "udp://127.0.0.1:0"])
        .args(["--listen", &taken])
        .env("NOTIFY_SOCKET", &manager.place)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(manager.next_within(Duration::from_millis(1)), None);
}

#[test]
fn a_manager_that_does_not_read_holds_nothing() {
    let directory = directory();
    let manager = Manager::at(directory.path());
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &manager.place).is_ok() {}
    let mut command = socketserver(&["serve", "echo", "--listen", "tcp://127.0.0.1:0"]);
    command
        .env("NOTIFY_SOCKET", &manager.place)
        .env("WATCHDOG_USEC", "20000");
    let served = Served::run(command);
    for _ in 0..10 {
        assert_eq!(exchange(&mut served.connect(), b"x", 1), b"x");
    }
    served.stop();
}

#[cfg(feature = "tls")]
#[test]
fn a_manager_learns_of_a_reload_and_of_its_end() {
    let authority = support::certificates::Authority::new();
    let server = authority.server(&["localhost"]);
    let directory = directory();
    let manager = Manager::at(directory.path());
    let mut command = socketserver(&["serve", "echo", "--listen", "tls://127.0.0.1:0"]);
    command.arg("--tls-cert").arg(&server.certificate);
    command.arg("--tls-key").arg(&server.key);
    command.env("NOTIFY_SOCKET", &manager.place);
    let served = Served::run(command);
    manager.wait_for("READY=1");
    served.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("RELOADING=1");
    let time = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{reloading}");
    manager.wait_for("READY=1");
    // A broken file keeps the old ones, so the server is ready as before.
    fs::write(&server.certificate, "broken").unwrap();
    served.signal(Signal::SIGHUP);
    manager.wait_for("RELOADING=1");
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("failed"), "{ready}");
    served.stop();
}

#[test]
fn the_watchdog_is_fed_by_idle_loops_and_not_by_one_that_is_stuck() {
    let directory = directory();
    let manager = Manager::at(directory.path());
    let mut command = socketserver(&["serve", "echo", "--mixin", "none"]);
    for _ in 0..2 {
        command.args(["--listen", "tcp://127.0.0.1:0"]);
    }
    const WATCHDOG: Duration = Duration::from_millis(1000);
    command.env("NOTIFY_SOCKET", &manager.place);
    command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    let mut served = Served::run(command);
    served.next_url();
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    // Without a mix-in, a client that stays holds its loop, and that loop alone.
    let mut client = served.connect();
    assert_eq!(exchange(&mut client, b"x", 1), b"x");
    let begun = Instant::now();
    let mut signs = 0;
    while begun.elapsed() < 3 * WATCHDOG {
        signs += usize::from(manager.next_within(WATCHDOG).is_some());
    }
    // Those from before the loop's last pass was too long ago.
    assert!(signs <= 2, "{signs}");
    drop(client);
    manager.wait_for("WATCHDOG=1");
    served.stop();
}

#[test]
fn an_idle_server_without_a_watchdog_does_not_wake() {
    let directory = directory();
    let manager = Manager::at(directory.path());
    let mut command = socketserver(&["serve", "echo", "--listen", "tcp://127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &manager.place);
    // The watchdog of another process.
    command
        .env("WATCHDOG_USEC", "1000")
        .env("WATCHDOG_PID", "1");
    let served = Served::run(command);
    manager.wait_for("READY=1");
    let waits = || {
        let threads = fs::read_dir(format!("/proc/{}/task", served.process_id())).unwrap();
        let waits = |thread: fs::DirEntry| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap();
            let line = status
                .lines()
                .find(|it| it.starts_with("voluntary_ctxt"))
                .unwrap();
            line.split_whitespace()
                .nth(1)
                .unwrap()
                .parse::<u64>()
                .unwrap()
        };
        threads.map(|thread| waits(thread.unwrap())).sum::<u64>()
    };
    let before = waits();
    assert_eq!(manager.next_within(Duration::from_millis(300)), None);
    // The threads may still have been on their way to their waits. A loop that wakes for this
    // watchdog does so a thousand times.
    let woken = waits() - before;
    assert!(woken < 50, "{woken}");
    served.stop();
}

#[test]
fn sockets_of_each_kind_that_were_passed_are_served_and_their_files_stay() {
    let directory = directory();
    let [stream, datagram] = ["s", "d"].map(|name| directory.path().join(name));
    for mixin in ["none", "threading", "forking", "pool", "reactor"] {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp_address, udp_address) = (tcp.local_addr().unwrap(), udp.local_addr().unwrap());
        let _ = (fs::remove_file(&stream), fs::remove_file(&datagram));
        let sockets: Vec<OwnedFd> = vec![
            tcp.into(),
            UnixListener::bind(&stream).unwrap().into(),
            udp.into(),
            UnixDatagram::bind(&datagram).unwrap().into(),
        ];
        // A client that comes before the server waits in the queue.
        let mut early = TcpStream::connect(tcp_address).unwrap();
        let mut command = socketserver(&["serve", "echo", "--mixin", mixin]);
        for name in ["fd://web", "fd://datagrams", "fd://4"] {
            command.args(["--listen", name]);
        }
        pass(&mut command, sockets, "web:local:datagrams:datagrams");
        let mut served = Served::run(command);
        assert_eq!(served.url(), format!("tcp://{tcp_address}"));
        assert_eq!(served.next_url(), format!("udp://{udp_address}"));
        assert_eq!(
            served.next_url(),
            format!("unixgram://{}", datagram.display())
        );
        assert_eq!(served.next_url(), format!("unix://{}", stream.display()));
        assert_eq!(exchange(&mut early, b"early", 5), b"early", "{mixin}");
        drop(early);
        let mut local = UnixStream::connect(&stream).unwrap();
        assert_eq!(exchange(&mut local, b"local", 5), b"local", "{mixin}");
        drop(local);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.send_to(b"udp", udp_address).unwrap();
        assert_eq!(client.recv(&mut [0; 10]).unwrap(), 3);
        served.stop();
        // They belong to whoever has made the sockets.
        assert!(stream.exists() && datagram.exists(), "{mixin}");
    }
}

#[test]
fn a_socket_that_cannot_be_meant_is_an_error_and_one_that_is_not_named_a_warning() {
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let (connection, _peer) = UnixStream::pair().unwrap();
    let connection = || OwnedFd::from(connection.try_clone().unwrap());
    let udp = || OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap());
    let file = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
    for (handler, listen, socket, expected) in [
        ("echo", "fd://wep", listener(), "fd://3 (fd://web)"),
        ("echo", "fd://4", listener(), "no such socket"),
        ("echo", "fd://web", connection(), "--inetd"),
        ("upper", "fd://web", udp(), "does not run over udp"),
        ("echo", "tls+fd://web", udp(), "TCP"),
        ("echo", "fd://web", file(), "no socket"),
    ] {
        let mut command = socketserver(&["serve", handler, "--listen", listen]);
        pass(&mut command, vec![socket], "web");
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{listen}: {message}");
        assert!(message.contains(expected), "{listen}: {message}");
    }
    let output = socketserver(&["serve", "echo", "--listen", "fd://web"])
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("socket unit"), "{message}");

    let mut command = socketserver(&["serve", "echo", "--listen", "tcp://127.0.0.1:0"]);
    pass(&mut command, vec![listener()], "web");
    let mut served = Served::run(command);
    let warning = served.wait_for_log("no --listen names");
    assert!(warning.contains("fd://web"), "{warning}");
    served.stop();
}

#[test]
fn a_program_of_a_handler_has_none_of_the_manager_s_variables() {
    let directory = directory();
    let manager = Manager::at(directory.path());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    let mut command = socketserver(&["serve", "shell", "--framing", "raw", "--serve-any-user"]);
    command.args(["--listen", "fd://web"]);
    command
        .env("NOTIFY_SOCKET", &manager.place)
        .env("WATCHDOG_USEC", "60000000");
    pass(&mut command, vec![socket.into()], "web");
    let served = Served::run(command);
    client
        .write_all(b"env; ls /proc/self/fd; echo end")
        .unwrap();
    let mut output = String::new();
    while !output.contains("end\n") {
        let mut buffer = [0; 4096];
        let length = client.read(&mut buffer).unwrap();
        assert_ne!(length, 0, "{output}");
        output.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
    }
    for name in ["LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"] {
        assert!(!output.contains(name), "{output}");
    }
    drop(client);
    served.stop();
}

/// A child that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `systemd-socket-activate` with these arguments before the command's; `None` if it is not
/// installed.
fn activate(arguments: &[&str], command: &[&str]) -> Option<Killed> {
    let mut activate = Command::new("systemd-socket-activate");
    activate
        .args(arguments)
        .arg(env!("CARGO_BIN_EXE_socketserver"))
        .args(command);
    activate
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    match activate.spawn() {
        Ok(process) => Some(Killed(process)),
        Err(error) => {
            println!("skipped: systemd-socket-activate: {error}");
            None
        }
    }
}

/// A client of a socket that is about to be there.
fn connect_soon(path: &Path) -> UnixStream {
    let mut client = None;
    eventually("the socket listens", || {
        client = UnixStream::connect(path).ok();
        client.is_some()
    });
    let client = client.unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client
}

#[test]
fn systemd_socket_activate_starts_the_command_in_each_of_its_four_forms() {
    let directory = directory();
    let [first, second] = ["1", "2"].map(|name| directory.path().join(name));
    let paths = [&first, &second].map(|path| path.display().to_string());
    let clear = || {
        for path in [&first, &second] {
            let _ = fs::remove_file(path);
        }
    };
    // Listening sockets with names.
    let sockets = ["-l", &paths[0], "-l", &paths[1], "--fdname=web:control"];
    let serve = [
        "serve",
        "echo",
        "--listen",
        "fd://control",
        "--listen",
        "fd://web",
    ];
    let Some(activated) = activate(&sockets, &serve) else {
        return;
    };
    for path in [&first, &second] {
        assert_eq!(exchange(&mut connect_soon(path), b"hello", 5), b"hello");
    }
    drop(activated);
    clear();
    // A connection as descriptor 3, and as standard input.
    for form in [&["-a"][..], &["-a", "--inetd"]] {
        let sockets = [form, &["-l", &paths[0]]].concat();
        let Some(_activated) = activate(&sockets, &["serve", "upper-loop", "--inetd"]) else {
            return;
        };
        for _ in 0..3 {
            let mut client = connect_soon(&first);
            assert_eq!(exchange(&mut client, b"hello", 5), b"HELLO", "{form:?}");
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(rest(client), b"");
        }
        clear();
    }
    // A socket of datagrams.
    let sockets = ["-d", "-l", &paths[0]];
    let Some(_activated) = activate(&sockets, &["serve", "echo", "--listen", "fd://3"]) else {
        return;
    };
    let client = UnixDatagram::bind(&second).unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    eventually("the socket is there", || {
        client.send_to(b"hello", &first).is_ok()
    });
    let mut reply = [0; 10];
    assert_eq!(client.recv(&mut reply).unwrap(), 5);
}

/// The command started for the socket as inetd does: standard input, output and error.
fn inetd(arguments: &[&str], socket: impl Into<OwnedFd>) -> Killed {
    let socket = socket.into();
    let copy = || Stdio::from(socket.try_clone().unwrap());
    let mut command = socketserver(arguments);
    command.stdin(copy()).stdout(copy()).stderr(copy());
    Killed(command.spawn().unwrap())
}

#[test]
fn inetd_s_client_gets_the_answers_and_no_line_of_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let mut started = inetd(&["serve", "hello", "--inetd"], connection);
    client.write_all(b"hello").unwrap();
    assert_eq!(rest(client), b"hi");
    assert!(started.0.wait().unwrap().success());
}

#[test]
fn inetd_s_datagrams_are_served_until_a_signal_stops_the_server() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SAFETY_NET)).unwrap();
    client.send_to(b"one", address).unwrap();
    let mut started = inetd(&["serve", "echo", "--inetd"], socket);
    for packet in [b"one", b"two"] {
        let mut reply = [0; 10];
        assert_eq!(client.recv(&mut reply).unwrap(), 3);
        assert_eq!(&reply[..3], packet);
        client.send_to(b"two", address).unwrap();
    }
    let pid = nix::unistd::Pid::from_raw(started.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert!(started.0.wait().unwrap().success());
}

#[test]
fn without_a_client_at_standard_input_inetd_s_option_is_an_error() {
    for (handler, expected) in [("echo", "no socket"), ("chat", "operator")] {
        let output = socketserver(&["serve", handler, "--inetd"])
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let output = socketserver(&["serve", "echo", "--inetd", "--listen", "tcp://127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn systemd_accepts_the_units_of_the_book() {
    for (page, count) in [("systemd.md", 5), ("restart.md", 1)] {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/guide/");
        let page = fs::read_to_string(Path::new(pages).join(page)).unwrap();
        let directory = directory();
        let mut units = Vec::new();
        let blocks = page.split("```ini\n");
        for (before, block) in blocks.clone().zip(blocks.skip(1)) {
            // The name is the last code before the unit.
            let name = before.trim_end().trim_end_matches(['`', ':']);
            let name = name.rsplit('`').next().unwrap().to_owned();
            let unit = block.split("```").next().unwrap();
            let program = env!("CARGO_BIN_EXE_socketserver");
            let unit = unit.replace("/usr/local/bin/socketserver", program);
            fs::write(directory.path().join(&name), unit).unwrap();
            units.push(name.replace("@.", "@1."));
        }
        assert_eq!(units.len(), count, "{units:?}");
        verify(directory.path(), &units);
    }
}

fn verify(directory: &Path, units: &[String]) {
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units)
        .current_dir(directory)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", directory.display()))
        .output();
    match verify {
        Err(error) => println!("skipped: systemd-analyze: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.is_empty(), "{text}");
        }
    }
}
