//! The standard error of a program, whose lines go to the log.

use std::fmt;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The most bytes of a line in the log. A longer line becomes several lines.
const LONGEST_LINE: usize = 1000;

/// The bytes that one read takes.
const READ_SIZE: usize = 4096;

/// The most reads of what is left when the program has ended. A process that the program has left
/// behind may go on writing.
const LAST_READS: usize = 256;

/// The read end of a program's standard error, and the beginning of its present line.
#[derive(Debug)]
pub(super) struct ErrorLines {
    /// `None` at the end of file.
    pipe: Option<PipeReader>,
    line: Vec<u8>,
}

impl ErrorLines {
    pub(super) fn new(pipe: PipeReader) -> Self {
        Self {
            pipe: Some(pipe),
            line: Vec::new(),
        }
    }

    /// The descriptor to wait on, until the end of file.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, and logs the lines that have ended, after `about`. Waits if nothing is there.
    pub(super) fn read(&mut self, about: &dyn fmt::Display) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let mut bytes = [0; READ_SIZE];
        match pipe.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.pipe = None,
            Ok(count) => self.take(&bytes[..count], &mut |line| log(about, line)),
        }
    }

    /// Reads what is left of a program that has ended, and logs it.
    pub(super) fn read_the_rest(&mut self, about: &dyn fmt::Display) {
        for _ in 0..LAST_READS {
            if !self.descriptor().is_some_and(has_bytes) {
                break;
            }
            self.read(about);
        }
        if !self.line.is_empty() {
            log(about, &std::mem::take(&mut self.line));
        }
    }

    /// Adds bytes to the present line, and calls `each` with every line that has ended, or is as
    /// long as a line may be.
    fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (part, ends) = match part.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (part, false),
            };
            let mut part = part;
            while self.line.len() + part.len() > LONGEST_LINE {
                let (now, later) = part.split_at(LONGEST_LINE - self.line.len());
                self.line.extend_from_slice(now);
                each(&std::mem::take(&mut self.line));
                part = later;
            }
            self.line.extend_from_slice(part);
            if ends {
                each(&std::mem::take(&mut self.line));
            }
        }
    }
}

/// Whether a read of the pipe returns at once.
pub(super) fn has_bytes(pipe: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(pipe, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn log(about: &dyn fmt::Display, line: &[u8]) {
    log::info!("{about}: {}", Printable(line));
}

/// A line without the control characters that a terminal obeys: a client may have chosen its bytes.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.0.strip_suffix(b"\r").unwrap_or(self.0);
        for chunk in line.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\t' => f.write_str("\t")?,
                    it if it.is_control() => write!(f, "{}", it.escape_default())?,
                    it => write!(f, "{it}")?,
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// The two ends of the pipe for a program's standard error.
pub(super) fn pipe() -> io::Result<(ErrorLines, io::PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    Ok((ErrorLines::new(reader), writer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, usize) {
        let (mut errors, _writer) = pipe().unwrap();
        let mut lines = Vec::new();
        for piece in pieces {
            errors.take(piece, &mut |line| lines.push(Printable(line).to_string()));
        }
        (lines, errors.line.len())
    }

    #[test]
    fn a_line_is_logged_when_it_has_ended_in_whatever_pieces_it_comes() {
        let (logged, rest) = lines(&[b"one\ntw", b"o", b"\r\n\nrest"]);
        assert_eq!(logged, ["one", "two", ""]);
        assert_eq!(rest, 4);
    }

    #[test]
    fn a_long_line_is_several_and_costs_no_more_memory_than_one() {
        let (logged, rest) = lines(&[&[b'x'; 2500], b"\n"]);
        let lengths = Vec::from_iter(logged.iter().map(String::len));
        assert_eq!((lengths, rest), (vec![1000, 1000, 500], 0));
        let (logged, rest) = lines(&[&[b'x'; LONGEST_LINE], b"\n"]);
        assert_eq!((logged.len(), rest), (1, 0));
    }

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        let (logged, _) = lines(&[b"a\x1b[2Jb\xff\tc \xe4\xbd\xa0\n"]);
        assert_eq!(logged, ["a\\u{1b}[2Jb\\xff\tc 你"]);
    }
}
