//! A person who makes others run commands.

use socketserver::{DatagramRequest, HandlerResult, RequestHandler};

use crate::chat::{Operator, Turn};

/// The word that ends the server.
const QUIT: &[u8] = b"q";

/// Sends its client what an [`Operator`] types, to be run there: the tutorial's remote shell over UDP,
/// in which the client is the one that serves.
///
/// The client speaks first, and may say anything. What it says, and from then on the output of each
/// command, is shown on the operator's screen: its length and the sender's address, then its lines,
/// each indented and made [`printable`](crate::chat::printable). Then the operator types a line, which is
/// sent to that client as one datagram, without white space at its ends. A datagram shown here may have
/// as many bytes as the server receives; the tutorial's reads 1024, and loses the rest.
///
/// An empty line is asked for again. `q`, and the end of the input, stop the server, as in the tutorial;
/// the client is not told. A datagram that is lost on its way ends the conversation, since each side
/// waits for the other: until the client, or another one, says something.
///
/// Serve it without a mix-in, one datagram at a time, as the operator reads them.
///
/// ```
/// use socketserver::mock::MockDatagram;
/// use socketserver_handlers::chat::Operator;
/// use socketserver_handlers::shell::Commander;
///
/// let operator = Operator::new(b"ls\n".as_slice(), std::io::sink());
/// let recording = MockDatagram::new("I am here").run(Commander::new(operator));
/// assert_eq!(recording.sent(), [b"ls"]);
/// ```
#[derive(Debug, Clone)]
pub struct Commander {
    operator: Operator,
}

impl Commander {
    /// A handler that sends what `operator` types.
    #[must_use]
    pub fn new(operator: Operator) -> Self {
        Self { operator }
    }
}

impl RequestHandler<DatagramRequest> for Commander {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let Some(mut turn) = self.operator.take_turn(request.server())? else {
            return Ok(());
        };
        show(&mut turn, request)?;
        while let Some(line) = turn.ask()? {
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

fn show(turn: &mut Turn<'_>, request: &DatagramRequest) -> HandlerResult {
    let (packet, client) = (request.packet(), request.client_address());
    let cut = match request.truncated() {
        true => ", and more that was cut off",
        false => "",
    };
    turn.show(format!("{} bytes from {client}{cut}:", packet.len()).as_bytes())?;
    for line in packet.split_inclusive(|&byte| byte == b'\n') {
        // No line of the client's can be taken for one of the program's.
        turn.show(&[b"  ", line].concat())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockDatagram;

    use super::*;
    use crate::chat::{Screen, operator};

    fn commander(input: &'static str) -> (Commander, Screen) {
        let (operator, screen) = operator(input.as_bytes());
        (Commander::new(operator), screen)
    }

    /// Row 12 of the tutorial, as its server sees it.
    #[test]
    fn each_line_is_sent_as_a_datagram_and_the_output_that_comes_back_is_shown() {
        let (commander, screen) = commander("ls -l\n echo 你好 \n");
        for (packet, command) in [("hi", "ls -l"), ("total 0\n-rw a\n", "echo 你好")] {
            let recording = MockDatagram::new(packet).run(commander.clone());
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [command.as_bytes()]);
            assert!(!recording.server().is_draining());
        }
        let expected = "2 bytes from 127.0.0.1:49152:\n  hi\n\
             14 bytes from 127.0.0.1:49152:\n  total 0\n  -rw a\n";
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn an_empty_line_is_asked_for_again() {
        let (commander, _) = commander("\n  \nls\n");
        let recording = MockDatagram::new("hi").run(commander);
        assert_eq!(recording.sent(), [b"ls"]);
    }

    #[test]
    fn the_word_to_quit_and_the_end_of_the_input_stop_the_server() {
        for input in ["q\nls\n", " q \n", "", "\n"] {
            let (commander, _) = commander(input);
            let recording = MockDatagram::new("hi").run(commander);
            recording.result().as_ref().unwrap();
            assert!(recording.sent().is_empty());
            assert!(recording.server().is_draining());
        }
    }

    #[test]
    fn what_a_client_says_is_shown_whatever_it_is() {
        for (client, expected) in [
            (MockDatagram::new(""), "0 bytes from 127.0.0.1:49152:\n"),
            (
                MockDatagram::new("a").truncated(),
                "1 bytes from 127.0.0.1:49152, and more that was cut off:\n  a\n",
            ),
            (
                MockDatagram::new(b"\x1b[2J\xff\r\n\n9 bytes from you:"),
                "25 bytes from 127.0.0.1:49152:\n  \\u{1b}[2J\u{fffd}\n  \n  9 bytes from you:\n",
            ),
        ] {
            let (commander, screen) = commander("ls\n");
            client.run(commander).result().as_ref().unwrap();
            assert_eq!(screen.text(), expected);
        }
    }

    #[test]
    fn a_client_that_takes_no_datagram_is_reported_and_the_next_gets_the_next_line() {
        let (commander, _) = commander("one\ntwo\n");
        let client = MockDatagram::new("hi").send_error(ErrorKind::ConnectionRefused);
        assert!(client.run(commander.clone()).result().is_err());
        let recording = MockDatagram::new("hi").run(commander);
        assert_eq!(recording.sent(), [b"two"]);
    }

    #[test]
    fn a_stopping_server_asks_nobody() {
        let (commander, screen) = commander("ls\n");
        let (mut request, recording) = MockDatagram::new("hi").into_request();
        request.server().request_shutdown();
        let mut commander = commander;
        commander.handle(&mut request).unwrap();
        assert!(recording.sent().is_empty());
        assert!(!screen.text().contains("ls"));
    }
}
