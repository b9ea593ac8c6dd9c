//! A server that starts the program for each connection and does nothing else: the limit of what a
//! server can gain.

use std::ffi::CString;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::thread;

use measuring::{announce, end_at_once, peer_command};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};

/// The first argument of this program when it is this server.
pub const ARGUMENT: &str = "--alone";

/// Enough that a thread accepts while others wait for the execve(2) of their child.
const THREADS: usize = 4;

/// The command of this server. The shell ignores `SIGCHLD`, so that the system reaps the programs.
pub fn command(program: &[String]) -> io::Result<Command> {
    let mut command = peer_command("sh");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "sh"]);
    command
        .arg(std::env::current_exe()?)
        .arg(ARGUMENT)
        .args(program);
    Ok(command)
}

/// Serves until the benchmark ends.
pub fn serve(program: &[String]) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    announce(listener.local_addr()?, end_at_once)?;
    let file = program
        .first()
        .ok_or_else(|| io::Error::other("there is no program"))?;
    let words = program.iter().map(|word| CString::new(word.as_str()));
    let words = words.collect::<Result<Vec<_>, _>>()?;
    let environment = std::env::vars().map(|(name, value)| format!("{name}={value}"));
    let environment = environment.map(CString::new);
    let environment = environment.collect::<Result<Vec<_>, _>>()?;
    let attributes = PosixSpawnAttr::init()?;
    let start = |client: TcpStream| -> io::Result<()> {
        let mut actions = PosixSpawnFileActions::init()?;
        for stream in [0, 1] {
            actions.add_dup2(client.as_raw_fd(), stream)?;
        }
        posix_spawn(Path::new(file), &actions, &attributes, &words, &environment)?;
        Ok(())
    };
    thread::scope(|scope| {
        let serve = || listener.incoming().try_for_each(|client| start(client?));
        let threads = Vec::from_iter((0..THREADS).map(|_| scope.spawn(serve)));
        threads
            .into_iter()
            .try_for_each(|it| it.join().expect("the server does not panic"))
    })
}
