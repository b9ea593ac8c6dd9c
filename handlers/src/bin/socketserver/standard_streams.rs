//! Standard input and output, in whatever state another program has left them.

use std::io::{self, ErrorKind, IsTerminal, Read, Stdin, Stdout, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A stream whose reads and writes wait, even if the stream is non-blocking.
///
/// `O_NONBLOCK` belongs to the open file, which this program shares with others: ssh, node and
/// runners of CI leave the flag on a terminal or a pipe. The flag stays as it is, since the other
/// programs may need it.
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    is_terminal: bool,
}

impl<S: IsTerminal> Patient<S> {
    pub fn new(stream: S) -> Self {
        let is_terminal = stream.is_terminal();
        Self {
            stream,
            is_terminal,
        }
    }
}

/// Standard input.
pub fn input() -> Patient<Stdin> {
    Patient::new(io::stdin())
}

/// Standard output. What is written is sent at the next flush.
pub fn output() -> Patient<Stdout> {
    Patient::new(io::stdout())
}

/// Prints a text on standard output.
pub fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut output = output();
    output.write_all(text.as_ref())?;
    output.flush()
}

impl<S: AsFd> Patient<S> {
    /// Repeats the operation when poll(2) reports that the stream is ready for it.
    fn retry<T>(
        &mut self,
        ready: PollFlags,
        mut operation: impl FnMut(&mut S) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match operation(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut stream = [PollFd::new(self.stream.as_fd(), ready)];
                    match poll(&mut stream, PollTimeout::NONE) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return done,
            }
        }
    }
}

impl<S: Read + AsFd> Read for Patient<S> {
    /// A terminal that has hung up (`EIO`) is the end of the input.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let hung_up = Some(Errno::EIO as i32);
        match self.retry(PollFlags::POLLIN, |stream| stream.read(buffer)) {
            Err(error) if self.is_terminal && error.raw_os_error() == hung_up => Ok(0),
            read => read,
        }
    }
}

impl<S: Write + AsFd> Write for Patient<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.retry(PollFlags::POLLOUT, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.retry(PollFlags::POLLOUT, Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::OwnedFd;
    use std::thread;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    /// The two ends of a pipe that do not block.
    fn nonblocking() -> (Patient<File>, Patient<File>) {
        let (reader, writer) = io::pipe().unwrap();
        let [reader, writer] = [OwnedFd::from(reader), OwnedFd::from(writer)].map(|end| {
            fcntl(&end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
            Patient::new(File::from(end))
        });
        (reader, writer)
    }

    #[test]
    fn more_than_a_pipe_holds_passes_whole_although_neither_end_blocks() {
        let (mut reader, mut writer) = nonblocking();
        let sent = Vec::from_iter((0..=250).cycle().take(1 << 20));
        let expected = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            writer.flush().unwrap();
        });
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        writing.join().unwrap();
        assert!(read == expected, "{} bytes", read.len());
    }

    #[test]
    fn other_errors_are_reported() {
        let (reader, mut writer) = nonblocking();
        drop(reader);
        let error = writer.write(b"lost").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}
