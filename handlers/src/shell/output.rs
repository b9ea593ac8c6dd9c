//! The output of a command, and how it ended.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::shell::Refusal;

/// The output of a command, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// How the command ended.
    pub ending: Ending,
}

/// How a command ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The shell ended by itself. For an unknown command, the status is 127, and standard error has
    /// a message of the shell. If this process ignores `SIGCHLD`, the status is lost, and success
    /// is reported, as by Python's `subprocess`.
    Exited(ExitStatus),
    /// The command ran for longer than this limit, and was ended.
    TimedOut(Duration),
    /// The command wrote more bytes than this limit, and was ended.
    TooMuchOutput(usize),
    /// The client left, and the command was ended.
    ClientLeft,
    /// The command was not run, for this reason.
    NotRun(Refusal),
    /// The operating system could not run the command, or could not read its output.
    Failed(io::Error),
}

impl Output {
    /// The output of a command that wrote nothing.
    pub(super) fn nothing(ending: Ending) -> Self {
        Self {
            stderr: Vec::new(),
            stdout: Vec::new(),
            ending,
        }
    }

    /// The reason why the output is incomplete or missing; `None` if the command ended by itself.
    ///
    /// The note is one line without its end, in brackets: `[ended: it ran for more than 30s]` or
    /// `[not run: the command is empty]`.
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

    /// Returns the two outputs in the order in which a client receives them, the tutorial's:
    /// standard error, then standard output. The [note](Self::note), if there is one, is the last
    /// line.
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

/// Ends the unfinished line of an output whose last byte is `last`.
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
    fn the_output_of_a_command_that_ended_by_itself_is_left_as_it_is() {
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
