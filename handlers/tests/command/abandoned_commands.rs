//! Commands of the shell whose server ends before they do.

use std::fs::File;
use std::io::{Read, Write};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;

use crate::served::{SAFETY_NET, Served};

/// A named pipe that a command holds open until it ends.
struct Lifeline {
    directory: tempfile::TempDir,
}

impl Lifeline {
    fn new() -> Self {
        let directory = support::short_paths::directory();
        let made = Command::new("mkfifo")
            .arg(directory.path().join("lifeline"))
            .status();
        assert!(made.unwrap().success());
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("lifeline")
    }

    /// A command that does not end by itself while a test lasts.
    fn command(&self) -> String {
        let path = self.path();
        format!(
            "exec 9>'{}'; echo held >&9; sleep 90 & sleep 90",
            path.display()
        )
    }

    /// Waits until the command runs.
    fn wait_until_held(&self) -> File {
        let mut held = File::open(self.path()).unwrap();
        let mut message = [0; 5];
        held.read_exact(&mut message).unwrap();
        assert_eq!(&message, b"held\n");
        held
    }
}

/// True if all processes that hold the pipe end soon.
fn is_released(mut held: File) -> bool {
    let (ended, wait) = mpsc::channel();
    thread::spawn(move || ended.send(held.read(&mut [0]).unwrap()));
    wait.recv_timeout(SAFETY_NET / 3) == Ok(0)
}

fn serve(url: &str, mixin: &str) -> Served {
    let options = [
        "--mixin",
        mixin,
        "--command-timeout",
        "3600",
        "--drain-timeout",
        "0.2",
    ];
    Served::start("shell", url, &options)
}

/// Ends the server while the command of a client over TCP runs.
fn end_meanwhile(mixin: &str, end: impl FnOnce(&Served)) {
    let lifeline = Lifeline::new();
    let served = serve("tcp://127.0.0.1:0", mixin);
    let mut client = served.connect();
    client.write_all(lifeline.command().as_bytes()).unwrap();
    let held = lifeline.wait_until_held();
    end(&served);
    served.exit();
    assert!(is_released(held), "the command goes on: {mixin}");
}

#[test]
fn a_command_ends_with_a_server_that_does_not_wait_for_it_any_longer() {
    for mixin in ["none", "threading", "forking", "pool"] {
        end_meanwhile(mixin, |served| served.signal(Signal::SIGTERM));
    }
}

#[test]
fn a_command_ends_with_a_server_that_is_killed() {
    for mixin in ["none", "threading", "pool"] {
        end_meanwhile(mixin, |served| served.signal(Signal::SIGKILL));
    }
}

#[test]
fn a_command_that_came_in_a_datagram_ends_with_its_server() {
    for mixin in ["threading", "forking", "pool"] {
        let lifeline = Lifeline::new();
        let served = serve("udp://127.0.0.1:0", mixin);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let command = lifeline.command();
        client
            .send_to(command.as_bytes(), served.address())
            .unwrap();
        let held = lifeline.wait_until_held();
        served.stop();
        assert!(is_released(held), "the command goes on: {mixin}");
    }
}
