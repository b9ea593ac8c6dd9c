//! The process group of a command. All its processes end together.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::shell::environment::leave_service_manager;

/// The leader's script: wait for the end of the input, then kill the group. The leader ignores
/// other signals, which a command may send to its group to end a part of it.
const SCRIPT: &str = "trap '' HUP INT QUIT TERM USR1 USR2; read -r _; kill -s KILL 0";

/// A process group. It is killed when this value is dropped, and also when this process ends
/// without dropping the value: when the process is killed, or does not wait for its threads.
///
/// The leader of the group is a shell that reads from a pipe whose write end only this process has.
/// If this process ends, the leader reads the end of the pipe, and kills the group.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    /// `None` after the group was killed.
    leader: Option<Child>,
}

impl Group {
    /// Starts a group whose only process is its leader.
    pub(crate) fn new() -> io::Result<Self> {
        let mut leader = Command::new("/bin/sh");
        leave_service_manager(&mut leader);
        let leader = leader
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

    /// The id of the group. No other group has this id until the group is killed.
    pub(crate) fn id(&self) -> Pid {
        self.id
    }

    /// Ends the leader alone. The other processes of the group go on.
    pub(crate) fn release(mut self) {
        if let Some(mut leader) = self.leader.take() {
            let _ = leader.kill();
            let _ = leader.wait();
        }
    }

    /// Kills all processes of the group.
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
