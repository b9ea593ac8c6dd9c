//! An operator whose commands run on the machines of the clients.

use socketserver::{DatagramRequest, HandlerResult, RequestHandler};

use crate::chat::{Operator, Turn};

/// The line that stops the server.
const QUIT: &[u8] = b"q";

/// Sends its client the commands that an [`Operator`] types, and shows their output: the tutorial's
/// remote shell over UDP. The client runs the commands, as `socketserver client operated` does.
///
/// The client sends the first datagram, with any content. The operator's screen shows this
/// datagram, and then the output of each command: the length and the address of the sender, then
/// the lines, each indented and made [`printable`](crate::chat::printable). Then the operator types
/// a line. The handler sends the line to that client as one datagram, without white space at its
/// ends. A datagram is shown completely, up to the size that the server receives. The tutorial's
/// server reads 1024 bytes, and loses the rest.
///
/// An empty line is skipped. `q`, or the end of the input, stops the server, as in the tutorial;
/// the client receives no datagram about that. If a datagram is lost, both sides wait for each
/// other until this client or another client sends a datagram.
///
/// Serve this handler without a mix-in, one datagram at a time, since the operator reads one
/// datagram after the other.
///
/// ```
/// use socketserver::mock::MockDatagram;
/// use socketserver_handlers::chat::Operator;
/// use socketserver_handlers::shell::CommandSource;
///
/// let operator = Operator::new(b"ls\n".as_slice(), std::io::sink());
/// let recording = MockDatagram::new("I am here").run(CommandSource::new(operator));
/// assert_eq!(recording.sent(), [b"ls"]);
/// ```
#[derive(Debug, Clone)]
pub struct CommandSource {
    operator: Operator,
}

impl CommandSource {
    /// A handler that sends what `operator` types.
    #[must_use]
    pub fn new(operator: Operator) -> Self {
        Self { operator }
    }
}

impl RequestHandler<DatagramRequest> for CommandSource {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let Some(mut turn) = self.operator.take_turn(request.server())? else {
            return Ok(());
        };
        show(&mut turn, request);
        while let Some(line) = turn.ask() {
            match line.trim_ascii() {
                b"" => {}
                QUIT => break,
                command => return Ok(request.send(command)?),
            }
        }
        request.server().request_shutdown();
        Ok(())
    }
}

fn show(turn: &mut Turn<'_>, request: &DatagramRequest) {
    let (packet, client) = (request.packet(), request.client_address());
    let cut = match request.is_truncated() {
        true => ", truncated",
        false => "",
    };
    turn.show(format!("{} bytes from {client}{cut}:", packet.len()).as_bytes());
    for line in packet.split_inclusive(|&byte| byte == b'\n') {
        // Indented, so that no line of a client looks like a line of this program.
        turn.show(&[b"  ", line].concat());
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockDatagram;

    use super::*;
    use crate::chat::{Screen, operator};

    fn source(input: &'static str) -> (CommandSource, Screen) {
        let (operator, screen) = operator(input.as_bytes());
        (CommandSource::new(operator), screen)
    }

    #[test]
    fn each_line_is_sent_as_a_datagram_and_the_output_that_comes_back_is_shown() {
        let (source, screen) = source("ls -l\n echo 你好 \n");
        for (packet, command) in [("hi", "ls -l"), ("total 0\n-rw a\n", "echo 你好")] {
            let recording = MockDatagram::new(packet).run(source.clone());
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [command.as_bytes()]);
            assert!(!recording.server().is_draining());
        }
        let expected = "2 bytes from 127.0.0.1:49152:\n  hi\n\
             14 bytes from 127.0.0.1:49152:\n  total 0\n  -rw a\n";
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn an_empty_line_is_skipped() {
        let (source, _) = source("\n  \nls\n");
        let recording = MockDatagram::new("hi").run(source);
        assert_eq!(recording.sent(), [b"ls"]);
    }

    #[test]
    fn q_and_the_end_of_the_input_stop_the_server() {
        for input in ["q\nls\n", " q \n", "", "\n"] {
            let (source, _) = source(input);
            let recording = MockDatagram::new("hi").run(source);
            recording.result().as_ref().unwrap();
            assert!(recording.sent().is_empty());
            assert!(recording.server().is_draining());
        }
    }

    #[test]
    fn every_datagram_is_shown_whatever_its_content() {
        for (client, expected) in [
            (MockDatagram::new(""), "0 bytes from 127.0.0.1:49152:\n"),
            (
                MockDatagram::new("a").truncated(),
                "1 bytes from 127.0.0.1:49152, truncated:\n  a\n",
            ),
            (
                MockDatagram::new(b"\x1b[2J\xff\r\n\n9 bytes from you:"),
                "25 bytes from 127.0.0.1:49152:\n  \\u{1b}[2J\u{fffd}\n  \n  9 bytes from you:\n",
            ),
        ] {
            let (source, screen) = source("ls\n");
            client.run(source).result().as_ref().unwrap();
            assert_eq!(screen.text(), expected);
        }
    }

    #[test]
    fn a_failed_send_is_reported_and_the_next_client_is_sent_the_next_line() {
        let (source, _) = source("one\ntwo\n");
        let client = MockDatagram::new("hi").send_error(ErrorKind::ConnectionRefused);
        assert!(client.run(source.clone()).result().is_err());
        let recording = MockDatagram::new("hi").run(source);
        assert_eq!(recording.sent(), [b"two"]);
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_the_operator() {
        let (source, screen) = source("ls\n");
        let (mut request, recording) = MockDatagram::new("hi").into_request();
        request.server().request_shutdown();
        let mut source = source;
        source.handle(&mut request).unwrap();
        assert!(recording.sent().is_empty());
        assert!(!screen.text().contains("ls"));
    }
}
