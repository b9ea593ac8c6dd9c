//! Commands of `shell::run`: their output, and that no process of theirs is left.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socketserver_handlers::shell::{Ending, Limits, Output, Refusal, run};
use tempfile::TempDir;

/// A test that waits longer than this for something has failed.
const SAFETY_NET: Duration = Duration::from_secs(30);

/// Runs a command without a client, within limits that it does not reach.
fn unlimited(line: &str) -> Output {
    run(line.as_bytes(), &FAR, None)
}

const FAR: Limits = Limits {
    timeout: Duration::from_secs(3600),
    output: 1 << 30,
};

fn status(output: &Output) -> Option<i32> {
    match &output.ending {
        Ending::Exited(status) => status.code(),
        ending => panic!("{ending:?}"),
    }
}

/// A named pipe that processes hold open: its end of file shows that all of them have ended.
struct Lifeline {
    _directory: TempDir,
    path: PathBuf,
    reader: File,
}

impl Lifeline {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lifeline");
        let made = unlimited(&format!("mkfifo '{}'", path.display()));
        assert_eq!(status(&made), Some(0), "{made:?}");
        let mut options = File::options();
        let reader = options.read(true).custom_flags(O_NONBLOCK).open(&path);
        Self {
            reader: reader.unwrap(),
            path,
            _directory: directory,
        }
    }

    /// The shell command that holds the pipe open, from there on, with all children of the shell.
    fn hold(&self) -> String {
        format!("exec 9>'{}'; echo held >&9;", self.path.display())
    }

    fn wait(&self) {
        let safety_net = PollTimeout::try_from(SAFETY_NET).unwrap();
        let mut watched = [PollFd::new(self.reader.as_fd(), PollFlags::POLLIN)];
        while let Err(error) = poll(&mut watched, safety_net) {
            assert_eq!(error, Errno::EINTR);
        }
        assert!(watched[0].any().unwrap(), "nothing has happened");
    }

    /// Waits until a process holds the pipe.
    fn wait_until_held(&mut self) {
        self.wait();
        let mut held = [0; 5];
        self.reader.read_exact(&mut held).unwrap();
        assert_eq!(&held, b"held\n");
    }

    /// Waits until no process holds the pipe any more.
    fn wait_until_released(&mut self) {
        let mut held = [0; 5];
        loop {
            match self.reader.read(&mut held) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn the_two_outputs_and_the_status_come_apart() {
    let output = unlimited("echo hi; echo oops >&2; exit 3");
    assert_eq!(output.stdout, b"hi\n");
    assert_eq!(output.stderr, b"oops\n");
    assert_eq!(status(&output), Some(3));
    assert_eq!(output.note(), None);
}

/// Reading one output to its end first, as the tutorial's servers do, would wait for ever.
#[test]
fn both_outputs_may_be_longer_than_a_pipe_holds() {
    let output = unlimited(
        "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2",
    );
    assert_eq!(
        (output.stderr.len(), output.stdout.len()),
        (600_000, 300_000)
    );
    assert_eq!(status(&output), Some(0));
}

#[test]
fn there_is_nothing_on_standard_input() {
    assert_eq!(unlimited("cat; echo end").stdout, b"end\n");
}

#[test]
fn several_lines_are_a_script_and_a_dash_begins_a_command_too() {
    assert_eq!(unlimited("a=1\nb=2\necho $a$b").stdout, b"12\n");
    assert_eq!(status(&unlimited("-c")), Some(127));
}

#[test]
fn of_a_command_that_is_not_found_the_shell_speaks_itself() {
    let output = unlimited("/no-such-command");
    let message = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(message.contains("/no-such-command: "), "{message}");
    assert!(message.ends_with('\n'), "{message}");
    assert_eq!(status(&output), Some(127));
}

#[test]
fn what_is_no_command_is_not_run() {
    for (line, expected) in [
        (b"".as_slice(), Refusal::Empty),
        (b" \n", Refusal::Empty),
        (b"echo \xff", Refusal::NotUtf8),
        (b"echo\0", Refusal::NulByte),
    ] {
        let output = run(line, &FAR, None);
        let Ending::NotRun(refusal) = output.ending else {
            panic!("{output:?}");
        };
        assert_eq!(refusal, expected);
        assert!(output.stderr.is_empty() && output.stdout.is_empty());
    }
}

#[test]
fn a_command_that_writes_too_much_is_ended_and_what_fits_is_kept() {
    let limits = Limits {
        output: 100_001,
        ..FAR
    };
    let output = run(b"yes", &limits, None);
    assert!(matches!(output.ending, Ending::TooMuchOutput(100_001)));
    assert!(output.stdout == [&b"y\n".repeat(50_000)[..], b"y"].concat());

    let output = run(b"exec >&2; yes", &limits, None);
    assert!(matches!(output.ending, Ending::TooMuchOutput(100_001)));
    assert_eq!((output.stderr.len(), output.stdout.len()), (100_001, 0));
}

#[test]
fn a_command_may_write_as_much_as_the_limit() {
    let limits = Limits {
        output: 200_000,
        ..FAR
    };
    let line = b"head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2";
    assert_eq!(status(&run(line, &limits, None)), Some(0));
    let line = b"head -c 100000 /dev/zero; head -c 100001 /dev/zero >&2";
    let output = run(line, &limits, None);
    assert!(matches!(output.ending, Ending::TooMuchOutput(200_000)));
    assert_eq!(output.stderr.len() + output.stdout.len(), 200_000);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_everything_that_it_has_started() {
    let mut lifeline = Lifeline::new();
    let limits = Limits {
        timeout: Duration::from_millis(300),
        ..FAR
    };
    let line = format!("{} sleep 3600 & (sleep 3600 | sleep 3600)", lifeline.hold());
    let begun = Instant::now();
    let output = run(line.as_bytes(), &limits, None);
    assert!(begun.elapsed() >= limits.timeout);
    assert!(matches!(output.ending, Ending::TimedOut(it) if it == limits.timeout));
    lifeline.wait_until_released();
}

#[test]
fn a_command_that_ignores_signals_and_writes_nothing_is_ended_too() {
    let mut lifeline = Lifeline::new();
    let limits = Limits {
        timeout: Duration::from_millis(300),
        ..FAR
    };
    let line = format!(
        "{} trap '' TERM INT HUP; exec >&- 2>&-; while :; do sleep 1; done",
        lifeline.hold()
    );
    let output = run(line.as_bytes(), &limits, None);
    assert!(matches!(output.ending, Ending::TimedOut(_)));
    lifeline.wait_until_released();
}

#[test]
fn what_runs_in_the_background_ends_with_the_command() {
    let mut lifeline = Lifeline::new();
    let output = unlimited(&format!("{} sleep 3600 & echo end", lifeline.hold()));
    assert_eq!(output.stdout, b"end\n");
    assert_eq!(status(&output), Some(0));
    lifeline.wait_until_held();
    lifeline.wait_until_released();
}

#[test]
fn a_command_that_closes_its_outputs_runs_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("done");
    let line = format!("exec >&- 2>&-; sleep 0.1; echo > '{}'", path.display());
    assert_eq!(status(&unlimited(&line)), Some(0));
    assert!(path.exists());
}

#[test]
fn a_program_that_has_left_the_group_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("left").display().to_string();
    // The process has left its group before it prints its id, and holds the outputs open.
    let line = format!(
        "mkfifo '{path}'; setsid sh -c 'echo $$ >\"{path}\"; exec sleep 3600' & cat '{path}'"
    );
    let output = unlimited(&line);
    assert_eq!(status(&output), Some(0));
    let pid = String::from_utf8(output.stdout).unwrap().trim().parse();
    kill(Pid::from_raw(pid.unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn the_shell_is_reaped_also_where_a_signal_has_ended_it() {
    for line in ["echo $$", "echo $$; kill -9 $$"] {
        let output = unlimited(line);
        assert!(matches!(output.ending, Ending::Exited(_)), "{output:?}");
        let pid = String::from_utf8(output.stdout).unwrap().trim().parse();
        let pid = Pid::from_raw(pid.unwrap());
        assert_eq!(kill(pid, None), Err(Errno::ESRCH));
    }
}

#[test]
fn a_client_that_closes_ends_its_command_with_everything_that_it_has_started() {
    let mut lifeline = Lifeline::new();
    let (client, server) = UnixStream::pair().unwrap();
    let line = format!("echo before; {} sleep 3600 & sleep 3600", lifeline.hold());
    let output = thread::scope(|scope| {
        let running = scope.spawn(|| run(line.as_bytes(), &FAR, Some(server.as_fd())));
        lifeline.wait_until_held();
        drop(client);
        running.join().unwrap()
    });
    assert!(matches!(output.ending, Ending::ClientLeft), "{output:?}");
    assert_eq!(output.stdout, b"before\n");
    lifeline.wait_until_released();
}

#[test]
fn a_client_that_has_shut_down_its_write_end_still_reads() {
    let (client, server) = UnixStream::pair().unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let output = run(b"sleep 0.1; echo hi", &FAR, Some(server.as_fd()));
    assert_eq!(output.stdout, b"hi\n");
    assert_eq!(status(&output), Some(0));
}

#[test]
fn a_client_that_speaks_while_its_command_runs_has_not_left() {
    let (mut client, server) = UnixStream::pair().unwrap();
    client.write_all(b"next").unwrap();
    let output = run(b"sleep 0.1; echo hi", &FAR, Some(server.as_fd()));
    assert_eq!(output.stdout, b"hi\n");
    assert_eq!(status(&output), Some(0));
}

#[test]
fn a_time_without_end_is_a_time_too() {
    let limits = Limits {
        timeout: Duration::MAX,
        output: usize::MAX,
    };
    assert_eq!(run(b"echo hi", &limits, None).stdout, b"hi\n");
}
