//! The command as a child process of a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

/// A test that waits longer than this for something has failed.
pub const SAFETY_NET: Duration = Duration::from_secs(30);

/// The command with these arguments.
pub fn socketserver(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_socketserver"));
    command.args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

/// Whether this machine has IPv6. Prints that a test skips a part if not.
pub fn has_ipv6() -> bool {
    let is_there = UdpSocket::bind("[::1]:0").is_ok();
    if !is_there {
        println!("skipped for IPv6: this machine has no address ::1");
    }
    is_there
}

/// `socketserver serve …`, which is killed with its children when the test ends.
pub struct Served {
    process: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
    url: String,
}

impl Served {
    /// Serves `handler` on `url`, and waits until it is ready.
    pub fn start(handler: &str, url: &str, options: &[&str]) -> Self {
        let mut command = socketserver(&["serve", handler, "--listen", url]);
        command.args(options);
        Self::run(command)
    }

    pub fn run(command: Command) -> Self {
        Self::run_after(command, 0)
    }

    /// Runs a command that prints so many lines before the line `listening on`.
    pub fn run_after(mut command: Command, lines: usize) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.process_group(0).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let mut served = Self {
            process,
            stdout,
            stderr,
            url: String::new(),
        };
        for _ in 0..lines {
            served.shown();
        }
        let line = served.shown();
        let Some(url) = line
            .strip_prefix("listening on ")
            .and_then(|it| it.strip_suffix('\n'))
        else {
            panic!("not ready: {line:?}, {}", served.log());
        };
        served.url = url.to_owned();
        served
    }

    /// The URL in the line `listening on`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address in the URL.
    pub fn address(&self) -> SocketAddr {
        self.url.split_once("://").unwrap().1.parse().unwrap()
    }

    /// A TCP client of the server.
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address()).unwrap();
        client.set_read_timeout(Some(SAFETY_NET)).unwrap();
        client.set_write_timeout(Some(SAFETY_NET)).unwrap();
        client
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// The URL in the next line `listening on`, for a server with several addresses.
    pub fn next_url(&mut self) -> String {
        let line = self.shown();
        let url = line.trim_end().strip_prefix("listening on ");
        url.unwrap_or_else(|| panic!("{line:?}, {}", self.log()))
            .to_owned()
    }

    /// The next line on standard output.
    pub fn shown(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    /// Reads the log up to a line that contains `text`.
    pub fn wait_for_log(&mut self, text: &str) -> String {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.stderr.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the log has ended without {text:?}");
        }
        line
    }

    /// Reads the log to its end: that of the server and of every process that it has started.
    pub fn rest_of_log(&mut self) -> String {
        self.log()
    }

    /// Waits for the end: the exit status, the rest of standard output, and the log.
    pub fn exit(mut self) -> (Option<i32>, String, String) {
        let (ended, wait) = mpsc::channel();
        let pid = self.pid();
        // Not reaped (`WNOWAIT`) before the group is killed by the same id.
        std::thread::spawn(move || {
            let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            let mut status = waitid(Id::Pid(pid), how);
            while status == Err(Errno::EINTR) {
                status = waitid(Id::Pid(pid), how);
            }
            ended.send(status)
        });
        let ended = wait.recv_timeout(SAFETY_NET);
        let _ = killpg(pid, Signal::SIGKILL);
        let status = self.process.wait().unwrap();
        ended.expect("the server should have ended").unwrap();
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let log = self.log();
        (status.code(), stdout, log)
    }

    /// Stops the server as a service manager does. It must succeed, and have printed one line only.
    pub fn stop(self) {
        self.signal(Signal::SIGTERM);
        let (status, stdout, log) = self.exit();
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(stdout, "");
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = killpg(self.pid(), Signal::SIGKILL);
            let _ = self.process.wait();
        }
    }
}

/// Sends `message`, and reads an answer of `length` bytes.
pub fn exchange(client: &mut (impl Read + Write), message: &[u8], length: usize) -> Vec<u8> {
    client.write_all(message).unwrap();
    let mut answer = vec![0; length];
    client.read_exact(&mut answer).unwrap();
    answer
}

/// Reads until the server closes.
pub fn rest(mut client: impl Read) -> Vec<u8> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    rest
}
