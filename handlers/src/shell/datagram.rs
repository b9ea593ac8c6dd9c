//! The shell over datagrams.

use socketserver::{DatagramRequest, HandlerResult, RequestHandler};

use super::conversation_error::ConversationError;
use super::foreign::Foreign;
use super::{Ending, Output, Refusal, Shell, run};

impl RequestHandler<DatagramRequest> for Shell {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let (client, packet) = (request.client_address(), request.packet());
        if let Some(foreign) = Foreign::find_in(packet) {
            return Err(ConversationError::Foreign(foreign).into_error().into());
        }
        let output = if request.is_truncated() {
            Output::nothing(Ending::NotRun(Refusal::TooLong(packet.len())))
        } else {
            log::info!("{client} runs {:?}", String::from_utf8_lossy(packet));
            run(packet, &self.limits, None)
        };
        if let Some(note) = output.note() {
            log::warn!("{client}: {note}");
        }
        // `send`, since an empty answer that is only written is not sent.
        Ok(request.send(&output.into_datagram())?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use socketserver::mock::MockDatagram;

    use super::*;
    use crate::shell::{Limits, MAX_DATAGRAM};

    fn ask(client: MockDatagram) -> Vec<Vec<u8>> {
        let recording = client.run(Shell::default());
        recording.result().as_ref().unwrap();
        recording.sent()
    }

    #[test]
    fn errors_and_output_come_back_in_one_datagram() {
        let client = MockDatagram::new("echo hi; echo oops >&2");
        assert_eq!(ask(client), [b"oops\nhi\n"]);
    }

    #[test]
    fn a_command_that_writes_nothing_is_answered_with_an_empty_datagram() {
        assert_eq!(ask(MockDatagram::new("true")), [b""]);
    }

    #[test]
    fn what_is_no_command_is_answered_with_the_reason() {
        for (client, reason) in [
            (MockDatagram::new(""), "the command is empty"),
            (MockDatagram::new(" \n"), "the command is empty"),
            (MockDatagram::new(b"ls \xff"), "the command is not utf-8"),
            (MockDatagram::new("ls\0"), "the command contains a NUL byte"),
            (
                MockDatagram::new("echo hi").truncated(),
                "the command is longer than 7 bytes",
            ),
        ] {
            let expected = format!("[not run: {reason}]\n");
            assert_eq!(ask(client), [expected.as_bytes()]);
        }
    }

    #[test]
    fn a_command_may_be_as_long_as_a_datagram() {
        let line = format!("{:65507}", "echo hi");
        assert_eq!(ask(MockDatagram::new(line)), [b"hi\n"]);
    }

    #[test]
    fn an_output_that_does_not_fit_a_datagram_is_cut_and_the_last_line_has_the_number() {
        let client = MockDatagram::new("head -c 65507 /dev/zero");
        assert!(ask(client) == [[0; 65_507]]);
        let client = MockDatagram::new("head -c 65508 /dev/zero");
        let sent = ask(client);
        let [answer] = &sent[..] else {
            panic!("{} datagrams", sent.len());
        };
        let last_line = b"\n[cut: 51 bytes did not fit into the datagram]\n";
        assert_eq!(answer.strip_suffix(last_line).unwrap().len(), 65_508 - 51);
        assert!(answer.len() <= MAX_DATAGRAM);
    }

    #[test]
    fn the_answer_of_a_command_that_meets_a_limit_has_the_reason() {
        let shell = Shell::default().limits(Limits {
            timeout: Duration::from_secs(3600),
            output: 3,
        });
        let recording = MockDatagram::new("yes").run(shell);
        assert_eq!(
            recording.sent(),
            [b"y\ny\n[ended: it wrote more than 3 bytes]\n"]
        );
    }

    #[test]
    fn what_a_browser_sends_is_neither_run_nor_answered() {
        for packet in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\necho hi".as_slice(),
            b"\0\x01\0\0\x21\x12\xa4\x42",
            b"\x16\xfe\xfd;echo hi",
        ] {
            let recording = MockDatagram::new(packet).run(Shell::default());
            let error = recording.result().as_ref().unwrap_err().to_string();
            assert!(error.contains("attack"), "{error}");
            assert!(recording.sent().is_empty());
        }
    }

    #[test]
    fn a_failed_send_is_reported() {
        let client = MockDatagram::new("echo hi").send_error(ErrorKind::ConnectionRefused);
        assert!(client.run(Shell::default()).result().is_err());
    }
}
