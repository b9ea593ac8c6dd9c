//! The two outputs of a running command, read as their bytes arrive.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};

/// The capacity of a pipe on Linux, in bytes.
const READ_SIZE: usize = 1 << 16;

/// The read ends of a command's two pipes, and the bytes received so far.
///
/// Each pipe is read when it has bytes. The tutorial's server reads one pipe to its end first,
/// which is a deadlock when the command waits for room in the other pipe.
#[derive(Debug)]
pub(super) struct Outputs {
    stderr: Pipe,
    stdout: Pipe,
    buffer: Vec<u8>,
    /// How many more bytes both pipes together may have.
    room: usize,
}

#[derive(Debug)]
struct Pipe {
    /// `None` after the end of the pipe.
    reader: Option<PipeReader>,
    received: Vec<u8>,
}

/// One of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Stderr,
    Stdout,
}

/// More bytes arrived than the limit allows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

impl Outputs {
    pub(super) fn new(stderr: PipeReader, stdout: PipeReader, limit: usize) -> Self {
        let pipe = |reader| Pipe {
            reader: Some(reader),
            received: Vec::new(),
        };
        Self {
            stderr: pipe(stderr),
            stdout: pipe(stdout),
            buffer: vec![0; READ_SIZE],
            room: limit,
        }
    }

    /// The pipes that have not ended.
    pub(super) fn open(&self) -> impl Iterator<Item = (Which, BorrowedFd<'_>)> {
        let [stderr, stdout] = [&self.stderr, &self.stdout].map(|pipe| pipe.reader.as_ref());
        let readers = [(Which::Stderr, stderr), (Which::Stdout, stdout)];
        readers
            .into_iter()
            .filter_map(|(which, reader)| Some((which, reader?.as_fd())))
    }

    /// Reads once from a pipe, and waits if it is empty. Bytes beyond the limit are dropped. A pipe
    /// that has ended is not read.
    pub(super) fn read(&mut self, which: Which) -> io::Result<Result<(), TooMuch>> {
        let pipe = match which {
            Which::Stderr => &mut self.stderr,
            Which::Stdout => &mut self.stdout,
        };
        let Some(reader) = &mut pipe.reader else {
            return Ok(Ok(()));
        };
        let count = match reader.read(&mut self.buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Ok(())),
            read => read?,
        };
        if count == 0 {
            pipe.reader = None;
        }
        let kept = count.min(self.room);
        self.room -= kept;
        pipe.received.extend_from_slice(&self.buffer[..kept]);
        Ok(if kept < count { Err(TooMuch) } else { Ok(()) })
    }

    /// Takes the received bytes, standard error first.
    pub(super) fn take(&mut self) -> [Vec<u8>; 2] {
        [&mut self.stderr, &mut self.stdout].map(|pipe| std::mem::take(&mut pipe.received))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use super::*;

    #[test]
    fn the_limit_is_for_both_outputs_together_and_the_bytes_within_it_are_kept() {
        let [stderr, stdout] = [pipe().unwrap(), pipe().unwrap()];
        let mut outputs = Outputs::new(stderr.0, stdout.0, 10);
        (&stderr.1).write_all(b"123456").unwrap();
        assert_eq!(outputs.read(Which::Stderr).unwrap(), Ok(()));
        (&stdout.1).write_all(b"abcd").unwrap();
        assert_eq!(outputs.read(Which::Stdout).unwrap(), Ok(()));
        (&stdout.1).write_all(b"ef").unwrap();
        assert_eq!(outputs.read(Which::Stdout).unwrap(), Err(TooMuch));
        assert_eq!(outputs.take(), [b"123456".to_vec(), b"abcd".to_vec()]);
    }

    #[test]
    fn an_output_that_has_ended_is_not_waited_for() {
        let [stderr, stdout] = [pipe().unwrap(), pipe().unwrap()];
        let mut outputs = Outputs::new(stderr.0, stdout.0, 10);
        drop(stderr.1);
        outputs.read(Which::Stderr).unwrap().unwrap();
        let open = Vec::from_iter(outputs.open().map(|(which, _)| which));
        assert_eq!(open, [Which::Stdout]);
        // A read that waited would not return.
        outputs.read(Which::Stderr).unwrap().unwrap();
        drop(stdout.1);
        outputs.read(Which::Stdout).unwrap().unwrap();
        assert_eq!(outputs.open().count(), 0);
    }
}
