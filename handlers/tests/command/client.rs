//! `socketserver client …` as a child process of a test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::served::{SAFETY_NET, socketserver};

/// A client that a test types to, and reads from. A client that takes too long is killed, so that
/// no read waits for ever.
pub struct Client {
    process: Process,
    keyboard: Option<ChildStdin>,
    screen: BufReader<ChildStdout>,
    stderr: ChildStderr,
    _alarm: Sender<()>,
}

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// How a client ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub status: Option<i32>,
    /// The text that was shown and not read yet.
    pub screen: String,
    pub stderr: String,
}

impl Client {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = socketserver(&[&["client"], arguments].concat());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let keyboard = process.stdin.take();
        let screen = BufReader::new(process.stdout.take().unwrap());
        let stderr = process.stderr.take().unwrap();
        let (alarm, over) = channel();
        let pid = Pid::from_raw(process.id().try_into().unwrap());
        thread::spawn(move || {
            if over.recv_timeout(SAFETY_NET) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Self {
            process: Process(process),
            keyboard,
            screen,
            stderr,
            _alarm: alarm,
        }
    }

    /// Types the whole input, and waits for the end of the client.
    pub fn run(arguments: &[&str], input: &str) -> Ended {
        let mut client = Self::start(arguments);
        client.type_in(input);
        client.end()
    }

    /// Types text. A client that has closed its input does not read it.
    pub fn type_in(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().unwrap();
        let _ = keyboard.write_all(text.as_bytes());
    }

    /// The next line that is shown.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.screen.read_line(&mut line).unwrap();
        line
    }

    /// Reads its log up to a line that contains `text`.
    pub fn wait_for_log(&mut self, text: &str) {
        let mut log = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&log).contains(text) {
            let read = self.stderr.read(&mut byte).unwrap();
            assert_ne!(read, 0, "{}", String::from_utf8_lossy(&log));
            log.push(byte[0]);
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.0.id().try_into().unwrap())
    }

    /// Closes its screen, as `head` does when it has enough.
    pub fn close_screen(self) -> (Option<i32>, String) {
        let Self {
            mut process,
            keyboard,
            screen,
            mut stderr,
            _alarm,
        } = self;
        drop(screen);
        drop(keyboard);
        let mut log = String::new();
        stderr.read_to_string(&mut log).unwrap();
        (process.0.wait().unwrap().code(), log)
    }

    /// Ends its input, and waits for its end.
    pub fn end(mut self) -> Ended {
        drop(self.keyboard.take());
        let mut screen = String::new();
        self.screen.read_to_string(&mut screen).unwrap();
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).unwrap();
        // Not reaped (`WNOWAIT`) before the alarm is dropped, which may kill the process by its id.
        let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(self.pid()), how) == Err(Errno::EINTR) {}
        let Self {
            mut process,
            _alarm,
            ..
        } = self;
        drop(_alarm);
        let status = process.0.wait().unwrap().code();
        Ended {
            status,
            screen,
            stderr,
        }
    }
}

impl Ended {
    /// Asserts that the client succeeded, and showed this.
    #[track_caller]
    pub fn showed(self, screen: &str) {
        assert_eq!(self.stderr, "");
        assert_eq!(self.screen, screen);
        assert_eq!(self.status, Some(0));
    }

    /// Asserts that the client failed with this status, and that its message contains these texts.
    #[track_caller]
    pub fn failed(self, status: i32, texts: &[&str]) {
        let message = &self.stderr;
        assert_eq!(self.status, Some(status), "{message}");
        for text in texts {
            assert!(message.contains(text), "{message}");
        }
    }
}

/// A TCP address that refuses connections, and is reserved while the socket exists.
pub fn refusing_tcp() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&SockAddr::from(any)).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, format!("tcp://{address}"))
}

/// A UDP address that refuses datagrams: its socket is connected to itself.
pub fn refusing_udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.connect(address).unwrap();
    (socket, format!("udp://{address}"))
}

/// Starts a server that serves each connection with this function, one after the other, and returns
/// its URL. The server ends with the test.
pub fn fake_server(mut serve: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_read_timeout(Some(SAFETY_NET)).unwrap();
            serve(stream);
        }
    });
    url
}

/// A server that reads once, sends this, and closes.
pub fn answering(answer: &'static [u8]) -> String {
    fake_server(move |mut stream| {
        let mut message = [0; 2048];
        let _ = stream.read(&mut message);
        let _ = stream.write_all(answer);
    })
}
