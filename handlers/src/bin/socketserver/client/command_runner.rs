//! The client that runs the commands of a server: the counterpart of a command source.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socketserver_handlers::shell::{Ending, Limits, run};

use super::datagrams::Datagrams;
use crate::failure::Problem;

/// The first datagram, from which the server learns the client's address. The server ignores the
/// content.
const HERE: &[u8] = b"hi";

/// Runs the commands of a server.
#[derive(Debug)]
pub struct Runner<'a> {
    pub server: &'a Datagrams,
    pub limits: Limits,
    /// Whether the server may be that of another user of this machine.
    pub obeys_any_user: bool,
}

impl Runner<'_> {
    /// Runs each datagram that arrives, and sends the output back as one datagram.
    ///
    /// `stop` is a connected socket. When its other end is closed, the function ends the command
    /// that runs, and returns.
    pub fn run_commands(&self, stop: BorrowedFd<'_>) -> Result<(), Problem> {
        let server = self.server;
        server.send(HERE)?;
        while wait(server.as_fd(), stop)? {
            let command = match server.receive() {
                Err(Problem::NotThere(_)) if server.go_on() => {
                    server.send(HERE)?;
                    continue;
                }
                received => received?,
            };
            // Checked for each command: the server may have ended, and another program may have its
            // address.
            if !self.obeys_any_user {
                server.permit().map_err(Problem::OtherUser)?;
            }
            log::info!("running {:?}", String::from_utf8_lossy(&command));
            let output = run(&command, &self.limits, Some(stop));
            if let Some(note) = output.note() {
                log::warn!("{note}");
            }
            if matches!(output.ending, Ending::ClientLeft) {
                break;
            }
            server.send(&output.into_datagram())?;
        }
        Ok(())
    }
}

/// Waits until `server` has a datagram, and returns true. Returns false if the other end of `stop`
/// is closed.
fn wait(server: BorrowedFd<'_>, stop: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watched = [server, stop].map(|it| PollFd::new(it, PollFlags::POLLIN));
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(!watched[1].any().unwrap_or(true)),
        }
    }
}
