//! A program over datagrams: the packet is its input, and its output is the reply.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::PollFlags;
use rustix::fs::{MemfdFlags, memfd_create};
use socketserver::{DatagramRequest, HandlerResult, RequestHandler, blocking};

use crate::exec::Exec;
use crate::exec::ending::Reason;
use crate::exec::environment::of_datagram;
use crate::exec::error_lines::has_bytes;
use crate::exec::link::{Datagram, Link};
use crate::exec::running::Running;
use crate::exec::supervision::Supervision;

/// The most bytes of a reply in one datagram: the limit of UDP over IPv4, which also applies here
/// over IPv6 and Unix sockets.
pub const MAX_REPLY: usize = 65_507;

impl RequestHandler<DatagramRequest> for Exec {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        if request.is_truncated() {
            return Err("the datagram is longer than the server receives; it is not served".into());
        }
        let input = file_of(request.packet())?;
        let (output, stdout) = io::pipe()?;
        let client = request.client_address();
        let variables = of_datagram(request, self.names.as_ref());
        let guard = self.guard()?;
        let streams = [input.as_fd(), stdout.as_fd()];
        let mut running = Running::start(&self.program, guard, client, variables, streams)?;
        // The program alone has the write end from now on.
        drop((input, stdout));
        let server = request.server().clone();
        let supervision = Supervision::new(server.deadlines(), self.grace);
        let mut output = Output::new(output, Datagram::new(&server));
        let ended = blocking(|| supervision.until_end(&mut running, &mut output))?;
        output.read_the_rest();
        let Output { reply, error, .. } = output;
        let bytes = [request.packet().len() as u64, reply.len() as u64];
        ended.log(running.about(), Some(bytes));
        match (error, ended.reason) {
            (Some(error), _) => Err(error.into()),
            (None, Some(Reason::ReplyTooLong)) => Err(too_long()),
            // A part of a reply may mean something else than the complete reply.
            (None, Some(_)) => Ok(()),
            (None, None) if reply.len() > MAX_REPLY => Err(too_long()),
            (None, None) => Ok(request.write_all(&reply)?),
        }
    }
}

fn too_long() -> socketserver::HandlerError {
    format!("the program wrote more than the {MAX_REPLY} bytes of a reply; nothing was sent").into()
}

/// A file that has these bytes alone. A pipe may have room for fewer, and would hold the server.
fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create("datagram", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The output of a program, read while the program runs.
struct Output<'a> {
    /// `None` at the end of file.
    pipe: Option<PipeReader>,
    reply: Vec<u8>,
    error: Option<io::Error>,
    datagram: Datagram<'a>,
}

impl<'a> Output<'a> {
    fn new(pipe: PipeReader, datagram: Datagram<'a>) -> Self {
        Self {
            pipe: Some(pipe),
            reply: Vec::new(),
            error: None,
            datagram,
        }
    }

    /// Reads once, and waits if nothing is there. One byte more than a reply may have shows that
    /// the reply is too long, and nothing is read after that.
    fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return;
        };
        let mut bytes = [0; 8192];
        let room = (MAX_REPLY + 1).saturating_sub(self.reply.len());
        let size = bytes.len().min(room);
        match pipe.read(&mut bytes[..size]) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.reply.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                self.error = Some(error);
                self.pipe = None;
            }
        }
    }

    /// Reads the rest of the output when the program has ended. A process that the program has left
    /// behind may hold the pipe open; the function does not wait for it.
    fn read_the_rest(&mut self) {
        while self
            .pipe
            .as_ref()
            .is_some_and(|pipe| has_bytes(pipe.as_fd()))
        {
            self.read();
        }
    }
}

impl Link for Output<'_> {
    fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        Some((self.pipe.as_ref()?.as_fd(), PollFlags::POLLIN))
    }

    fn note(&mut self, _: PollFlags) {
        self.read();
    }

    fn ending(&mut self) -> Option<Reason> {
        if self.reply.len() > MAX_REPLY {
            self.pipe = None;
            return Some(Reason::ReplyTooLong);
        }
        self.datagram.ending()
    }

    fn look_again(&self) -> Option<Duration> {
        self.datagram.look_again()
    }
}

#[cfg(test)]
mod tests {
    use socketserver::mock::MockDatagram;

    use super::*;
    use crate::exec::Program;

    fn run(
        program: &str,
        arguments: &[&str],
        packet: &[u8],
    ) -> socketserver::mock::DatagramRecording {
        let program = Program::find(program, arguments).unwrap();
        MockDatagram::new(packet).run(Exec::new(program))
    }

    #[test]
    fn the_packet_is_the_input_and_the_output_is_one_reply() {
        let largest = vec![b'x'; MAX_REPLY];
        for packet in [b"hello".as_slice(), b"", &largest] {
            let recording = run("cat", &[], packet);
            recording.result().as_ref().unwrap();
            let expected = Vec::from_iter(Some(packet).filter(|it| !it.is_empty()));
            assert_eq!(recording.sent(), expected);
        }
    }

    #[test]
    fn a_program_that_writes_nothing_sends_no_reply() {
        let recording = run("true", &[], b"unread");
        recording.result().as_ref().unwrap();
        assert!(recording.sent().is_empty());
    }

    #[test]
    fn of_a_reply_that_does_not_fit_into_a_datagram_nothing_is_sent() {
        for script in ["head -c 65508 /dev/zero", "exec yes"] {
            let recording = run("sh", &["-c", script], b"");
            let error = recording.result().as_ref().unwrap_err().to_string();
            assert!(error.contains("more than the 65507 bytes"), "{error}");
            assert!(recording.sent().is_empty());
        }
    }
}
