//! What a command has written, and how it ended.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::shell::Refusal;

/// What a command has written, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// What came on its standard error.
    pub stderr: Vec<u8>,
    /// What came on its standard output.
    pub stdout: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
}

/// How a command ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The shell ended by itself. A command that it does not know has status 127, and the shell says
    /// so on standard error. Where this process ignores `SIGCHLD` the status is lost, and is given as
    /// success, as Python's `subprocess` gives it.
    Exited(ExitStatus),
    /// It ran for more than this, and was ended.
    TimedOut(Duration),
    /// It wrote more than so many bytes, and was ended.
    TooMuchOutput(usize),
    /// Nobody was there any more to take the output, and it was ended.
    ClientLeft,
    /// It was not run.
    NotRun(Refusal),
    /// The operating system could not run it, or not give its output.
    Failed(io::Error),
}

impl Output {
    /// Of a command that wrote nothing.
    pub(super) fn nothing(ending: Ending) -> Self {
        Self {
            stderr: Vec::new(),
            stdout: Vec::new(),
            ending,
        }
    }

    /// What a reader of the output is to know beyond it: why it was cut short, or is not there. `None`
    /// if the command ended by itself.
    ///
    /// It is one line without its end, in brackets: `[ended: it ran for more than 30s]` or `[not run:
    /// the command is empty]`.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        match &self.ending {
            Ending::Exited(_) => None,
            Ending::TimedOut(limit) => Some(format!("[ended: it ran for more than {limit:?}]")),
            Ending::TooMuchOutput(limit) => {
                Some(format!("[ended: it wrote more than {limit} bytes]"))
            }
            Ending::ClientLeft => Some("[ended: the client left]".to_owned()),
            Ending::NotRun(refusal) => Some(format!("[not run: {refusal}]")),
            Ending::Failed(error) => Some(format!("[failed: {error}]")),
        }
    }

    /// The two outputs as a client gets them, in the tutorial's order: standard error, then standard
    /// output. The [note](Self::note), if there is one, is the last line.
    #[must_use]
    pub fn into_parts(self) -> [Vec<u8>; 2] {
        let note = self.note();
        let [stderr, mut stdout] = [self.stderr, self.stdout];
        if let Some(note) = note {
            let last = stdout.last().or(stderr.last()).copied();
            begin_line(&mut stdout, last);
            stdout.extend_from_slice(note.as_bytes());
            stdout.push(b'\n');
        }
        [stderr, stdout]
    }
}

/// Ends the line that an output has left unfinished.
pub(super) fn begin_line(output: &mut Vec<u8>, last: Option<u8>) {
    if last.is_some_and(|last| last != b'\n') {
        output.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(stderr: &str, stdout: &str, ending: Ending) -> [String; 2] {
        let output = Output {
            stderr: stderr.into(),
            stdout: stdout.into(),
            ending,
        };
        output.into_parts().map(|it| String::from_utf8(it).unwrap())
    }

    #[test]
    fn what_a_command_that_ended_by_itself_wrote_is_left_as_it_is() {
        let status = ExitStatus::default();
        let parts = parts("oops", "fine", Ending::Exited(status));
        assert_eq!(parts, ["oops", "fine"]);
    }

    #[test]
    fn a_note_is_the_last_line_of_the_output() {
        let note = "[ended: it ran for more than 1.5s]\n";
        for (stderr, stdout, expected) in [
            ("", "", note.to_owned()),
            ("", "a\n", format!("a\n{note}")),
            ("", "a", format!("a\n{note}")),
            ("oops\n", "", note.to_owned()),
            ("oops", "", format!("\n{note}")),
            ("oops", "a\n", format!("a\n{note}")),
        ] {
            let ending = Ending::TimedOut(Duration::from_millis(1500));
            assert_eq!(parts(stderr, stdout, ending), [stderr, &expected]);
        }
    }

    #[test]
    fn each_ending_has_a_note_of_its_own() {
        for (ending, expected) in [
            (
                Ending::TooMuchOutput(1024),
                "[ended: it wrote more than 1024 bytes]",
            ),
            (Ending::ClientLeft, "[ended: the client left]"),
            (
                Ending::NotRun(Refusal::TooLong(1024)),
                "[not run: the command is longer than 1024 bytes]",
            ),
            (
                Ending::Failed(io::Error::other("no room")),
                "[failed: no room]",
            ),
        ] {
            assert_eq!(Output::nothing(ending).note().unwrap(), expected);
        }
    }
}
