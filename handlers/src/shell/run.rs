//! Runs one command within its limits.

use std::ffi::OsStr;
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::shell::environment::leave_service_manager;
use crate::shell::group::Group;
use crate::shell::outputs::{Outputs, TooMuch};
use crate::shell::{Ending, Limits, Output, Refusal};

/// Runs one line in the system's shell, `/bin/sh`, and returns its output.
///
/// Several lines are a script. The working directory and the environment are those of this process,
/// and a `cd` has an effect only until the command ends. Standard input is empty. Both outputs are
/// read at the same time, so the command may write any amount to either.
///
/// The command is over when the shell has ended, even if programs that it has started still run.
/// The output is what has arrived by then. The command is ended earlier
///
/// * after [`Limits::timeout`],
/// * when its two outputs together have more than [`Limits::output`] bytes,
/// * when `client`, a connected socket, is gone: its other end has reset the connection, or has
///   closed a Unix socket (`POLLHUP`, `POLLERR`). A client that has shut down its write end still
///   reads, so its command goes on. Over TCP a client that has closed its socket looks the same
///   until something is written to it, so that its command runs to its end or to
///   [`Limits::timeout`]. Without a client the command runs to its end or a limit.
///
/// The command has its own process group, which is killed (`SIGKILL`) in every case, also after the
/// shell has ended by itself. Programs in the background therefore end with the command. They also
/// end when this process is killed: a second shell leads the group, and kills the group then. A
/// program that has left the group (`setsid`, or a job of a shell with job control) cannot be
/// ended. It may hold the outputs open, but `run` does not wait for it.
///
/// A line that is empty, is not utf-8 or contains a NUL byte is not run. This and every other error
/// is the [`Ending`] of the output. Python's counterpart is the tutorial's `subprocess.Popen(line,
/// shell=True, stdout=PIPE, stderr=PIPE)`.
///
/// The function starts a thread and the second shell. Both have ended when the function returns.
/// The function may be called in a forked child.
///
/// ```
/// use socketserver_handlers::shell::{Limits, run};
///
/// let output = run(b"echo fine; echo oops >&2", &Limits::default(), None);
/// assert_eq!(output.stdout, b"fine\n");
/// assert_eq!(output.stderr, b"oops\n");
/// assert_eq!(output.note(), None);
/// ```
///
/// # Panics
///
/// If the thread that waits for the shell's end panics, which it does not.
#[must_use]
#[doc(alias = "Popen")]
pub fn run(line: &[u8], limits: &Limits, client: Option<BorrowedFd<'_>>) -> Output {
    if let Some(refusal) = Refusal::of(line) {
        return Output::nothing(Ending::NotRun(refusal));
    }
    let deadline = Instant::now().checked_add(limits.timeout);
    match Running::start(line, limits) {
        Ok(running) => running.until_its_end(deadline, client),
        Err(error) => Output::nothing(Ending::Failed(error)),
    }
}

/// A shell that runs a command. Dropping it kills the group and reaps the shell.
#[derive(Debug)]
struct Running {
    shell: Child,
    group: Group,
    limits: Limits,
    outputs: Outputs,
    /// Becomes readable when the shell has ended.
    end: PipeReader,
    /// Waits for the end of the shell, and makes `end` readable. poll(2) cannot wait for a process
    /// on every system, and the outputs may end sooner or later than the shell.
    waiting: Option<JoinHandle<()>>,
}

/// Why to stop reading the output of a command.
enum Stop {
    Exited,
    TimedOut,
    TooMuchOutput,
    ClientLeft,
}

/// The events of a socket whose other end is gone: `POLLHUP` and `POLLERR`, which poll(2) reports
/// unasked. `POLLIN` would also report every message, and `POLLRDHUP` a client that still reads.
const LEFT: PollFlags = PollFlags::empty();

impl Running {
    fn start(line: &[u8], limits: &Limits) -> io::Result<Self> {
        let explain = |error: io::Error| {
            let what = format!("cannot start /bin/sh: {error}");
            io::Error::new(error.kind(), what)
        };
        let (end, mut ended) = io::pipe()?;
        let group = Group::new().map_err(explain)?;
        let mut shell = Command::new("/bin/sh");
        shell
            // `--`: the command may begin with a dash.
            .args(["-c", "--"])
            .arg(OsStr::from_bytes(line))
            .process_group(group.id().as_raw())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        leave_service_manager(&mut shell);
        block_no_signal(&mut shell);
        let mut shell = shell.spawn().map_err(explain)?;
        let [stderr, stdout] = [
            shell.stderr.take().map(OwnedFd::from),
            shell.stdout.take().map(OwnedFd::from),
        ]
        .map(|pipe| pipe.expect("both outputs are pipes").into());
        let mut running = Self {
            shell,
            group,
            limits: *limits,
            outputs: Outputs::new(stderr, stdout, limits.output),
            end,
            waiting: None,
        };
        let shell = running.pid();
        let wait = move || {
            // `WNOWAIT` does not reap the shell, so that its id stays its own until the group is
            // killed.
            let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(shell), how) == Err(Errno::EINTR) {}
            // An error is ignored: the read end is closed.
            let _ = ended.write_all(b"!");
        };
        let thread = thread::Builder::new().name("shell".to_owned());
        running.waiting = Some(thread.spawn(wait)?);
        Ok(running)
    }

    fn pid(&self) -> Pid {
        let id = self.shell.id().try_into();
        Pid::from_raw(id.expect("a process id is a positive i32"))
    }

    fn until_its_end(
        mut self,
        deadline: Option<Instant>,
        client: Option<BorrowedFd<'_>>,
    ) -> Output {
        let stopped = self.watch(deadline, client);
        let status = self.end();
        let ending = match (stopped, self.read_the_rest(), status) {
            (Err(error), _, _) | (_, Err(error), _) => Ending::Failed(error),
            (Ok(Stop::TimedOut), _, _) => Ending::TimedOut(self.limits.timeout),
            (Ok(Stop::ClientLeft), _, _) => Ending::ClientLeft,
            (Ok(Stop::TooMuchOutput), _, _) | (_, Ok(Err(TooMuch)), _) => {
                Ending::TooMuchOutput(self.limits.output)
            }
            (_, _, Err(error)) => Ending::Failed(error),
            (Ok(Stop::Exited), _, Ok(status)) => Ending::Exited(status),
        };
        let [stderr, stdout] = self.outputs.take();
        Output {
            stderr,
            stdout,
            ending,
        }
    }

    /// Reads the outputs until there is a reason to stop.
    fn watch(
        &mut self,
        deadline: Option<Instant>,
        client: Option<BorrowedFd<'_>>,
    ) -> io::Result<Stop> {
        loop {
            let timeout = until(deadline);
            let mut watched = vec![PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
            watched.extend(client.map(|client| PollFd::new(client, LEFT)));
            let (outputs, pipes): (Vec<_>, Vec<_>) = self.outputs.open().unzip();
            watched.extend(pipes.iter().map(|&it| PollFd::new(it, PollFlags::POLLIN)));
            match poll(&mut watched, timeout) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            // `None` has flags that the library does not know, which count as an event.
            let mut happened = watched.iter().map(|it| it.any().unwrap_or(true));
            let exited = happened.next() == Some(true);
            let client_left = client.is_some() && happened.next() == Some(true);
            let ready = Vec::from_iter(happened);
            for (which, _) in outputs.into_iter().zip(ready).filter(|(_, ready)| *ready) {
                if self.outputs.read(which)? == Err(TooMuch) {
                    return Ok(Stop::TooMuchOutput);
                }
            }
            if exited {
                return Ok(Stop::Exited);
            }
            if client_left {
                return Ok(Stop::ClientLeft);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Stop::TimedOut);
            }
        }
    }

    /// Ends the whole group, and reaps the shell. If this process ignores `SIGCHLD` the system has
    /// reaped the shell (`ECHILD`), and its status is lost.
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.group.kill();
        // The group does not reach a shell whose command was `exec setsid`; this does.
        match self.shell.kill() {
            Err(error) if is(&error, Errno::ESRCH) => {}
            killed => killed?,
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.join().expect("the thread does not panic");
        }
        match self.shell.wait() {
            Err(error) if is(&error, Errno::ECHILD) => Ok(ExitStatus::default()),
            status => status,
        }
    }

    /// Reads the rest of the pipes after the group was killed. A program that has left the group
    /// may still write; the function does not wait for it.
    fn read_the_rest(&mut self) -> io::Result<Result<(), TooMuch>> {
        loop {
            let (outputs, pipes): (Vec<_>, Vec<_>) = self.outputs.open().unzip();
            let to_watch = |&pipe| PollFd::new(pipe, PollFlags::POLLIN);
            let mut watched = Vec::from_iter(pipes.iter().map(to_watch));
            match poll(&mut watched, PollTimeout::ZERO) {
                Ok(0) => return Ok(Ok(())),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready = Vec::from_iter(watched.iter().map(|it| it.any().unwrap_or(true)));
            for (which, _) in outputs.into_iter().zip(ready).filter(|(_, ready)| *ready) {
                if self.outputs.read(which)? == Err(TooMuch) {
                    return Ok(Err(TooMuch));
                }
            }
        }
    }
}

/// Lets the command begin without blocked signals: a program inherits the mask of the thread that
/// starts it, and few programs look. A thread blocks signals if it waits for them, or if whoever
/// started this program did.
#[allow(unsafe_code)]
fn block_no_signal(command: &mut Command) {
    if SigSet::thread_get_mask().is_ok_and(|mask| mask == SigSet::empty()) {
        // Without a function to run before exec(2) the library starts the program faster.
        return;
    }
    let unblock = || Ok(SigSet::empty().thread_set_mask()?);
    // SAFETY: the function runs between fork and exec, and calls pthread_sigmask(3) alone, which is
    // async-signal-safe. It allocates nothing and takes no lock.
    unsafe { command.pre_exec(unblock) };
}

impl Drop for Running {
    fn drop(&mut self) {
        // A second call does nothing, and an error has no receiver here.
        let _ = self.end();
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The timeout of a poll(2) that ends at `deadline`. Whole milliseconds are rounded down, so one
/// millisecond is added.
fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else {
        return PollTimeout::NONE;
    };
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX)
}
