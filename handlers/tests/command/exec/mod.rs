//! `socketserver exec`: a program for each client.

mod datagrams;
mod ending;
mod environment;
mod hand_over;
mod many;
mod relay;
mod servers;
mod start;

use nix::unistd::Pid;

use crate::served::{Served, socketserver};

const LOOPBACK: &str = "tcp://127.0.0.1:0";

/// Serves `program` on `url`.
fn exec(url: &str, options: &[&str], program: &[&str]) -> Served {
    let arguments = [&["exec", "--listen", url], options, &["--"], program].concat();
    Served::run(socketserver(&arguments))
}

/// The word after `began` in the log: the id of a process that the program has started.
fn began(served: &mut Served) -> Pid {
    let line = served.wait_for_log("began ");
    let id = line.rsplit(' ').next().unwrap().trim();
    Pid::from_raw(id.parse().unwrap())
}

/// Serves a script of the shell over TCP.
fn script(options: &[&str], script: &str) -> Served {
    exec(LOOPBACK, options, &["sh", "-c", script])
}
