//! The processes of a command, which end together.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// What the leader does: it waits for the end of its input, and kills its group. A command that sends
/// its group a signal, so that part of it ends, does not mean the leader.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM USR1 USR2; read -r _; kill -s KILL 0";

/// A process group, killed when it is dropped, and also when this process ends without doing that:
/// when it is killed itself, or does not wait for its threads.
///
/// Its leader is a shell that sees to that. Its input is a pipe whose other end only this process has,
/// and the end of that input is the word.
#[derive(Debug)]
pub(super) struct Group {
    id: Pid,
    /// None once it has been killed.
    leader: Option<Child>,
}

impl Group {
    /// With nobody in it but its leader.
    pub(super) fn new() -> io::Result<Self> {
        let leader = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let id = leader.id().try_into();
        Ok(Self {
            id: Pid::from_raw(id.expect("a process id is a positive i32")),
            leader: Some(leader),
        })
    }

    /// Its id, which is no other group's until it is killed.
    pub(super) fn id(&self) -> Pid {
        self.id
    }

    /// Kills all who are in it.
    pub(super) fn kill(&mut self) {
        if let Some(mut leader) = self.leader.take() {
            let _ = killpg(self.id, Signal::SIGKILL);
            let _ = leader.wait();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
