//! The program's side of a relay.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use socketserver::layer::Stream;

use crate::exec::OnHangup;

/// The relay's end of the socket pair whose other end the program has.
///
/// The end of a program is not an error of the relay: a program need not read everything that its
/// client sends. The relay drops what the client sends after that, and the output of the program
/// still reaches the client.
#[derive(Debug)]
pub(super) struct ProgramSide {
    socket: UnixStream,
    from_client: u64,
    to_client: u64,
    on_hangup: OnHangup,
    client_has_ended: bool,
}

impl ProgramSide {
    pub(super) fn new(socket: UnixStream, on_hangup: OnHangup) -> Self {
        Self {
            socket,
            from_client: 0,
            to_client: 0,
            on_hangup,
            client_has_ended: false,
        }
    }

    /// The bytes that the program has been given, and those that it has written.
    pub(super) fn carried(&self) -> [u64; 2] {
        [self.from_client, self.to_client]
    }

    /// Whether the client has ended its side, and its program is to end then.
    pub(super) fn ends_with_client(&self) -> bool {
        self.client_has_ended && self.on_hangup == OnHangup::EndIfClosed
    }
}

impl Read for ProgramSide {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(count) => {
                self.to_client += count as u64;
                Ok(count)
            }
            Err(error) => {
                let error = io::Error::from(error);
                // The program has ended, and has left something unread.
                match error.kind() {
                    ErrorKind::ConnectionReset => Ok(0),
                    _ => Err(error),
                }
            }
        }
    }
}

impl Write for ProgramSide {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.socket.as_raw_fd(), bytes, flags) {
            Ok(count) => {
                self.from_client += count as u64;
                Ok(count)
            }
            Err(error) => {
                let error = io::Error::from(error);
                match error.kind() {
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Ok(bytes.len()),
                    _ => Err(error),
                }
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for ProgramSide {
    fn readable_now(&mut self) -> io::Result<bool> {
        if self.ends_with_client() {
            // Ends the relay.
            let message = "the client has closed its side";
            return Err(io::Error::new(ErrorKind::ConnectionAborted, message));
        }
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, PollTimeout::ZERO)? > 0)
    }

    fn shutdown(&mut self, how: Shutdown) -> io::Result<()> {
        self.client_has_ended |= how == Shutdown::Write;
        self.socket.shutdown(how)
    }

    /// No read or write waits.
    fn set_timeout(&mut self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    /// No read or write waits.
    fn set_deadline(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }

    fn set_nodelay(&mut self, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (ProgramSide, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ProgramSide::new(ours, OnHangup::Leave), theirs)
    }

    #[test]
    fn what_a_program_has_written_is_read_though_the_program_has_not_read_its_input() {
        let (mut side, mut program) = pair();
        side.write_all(b"unread").unwrap();
        program.write_all(b"output").unwrap();
        drop(program);
        side.write_all(b"dropped").unwrap();
        let mut output = Vec::new();
        side.read_to_end(&mut output).unwrap();
        assert_eq!(output, b"output");
        assert_eq!(side.carried(), [6, 6]);
    }

    #[test]
    fn nothing_waits() {
        let (mut side, _program) = pair();
        assert!(!side.readable_now().unwrap());
        let error = side.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let full = std::iter::from_fn(|| side.write(&[0; 4096]).ok()).count();
        assert!(full > 0);
    }
}
