//! The chat over datagrams: a message, and the operator's reply.

use socketserver::{DatagramRequest, HandlerResult, RequestHandler};

use super::{BYE, Chat};
use crate::one_read::MESSAGE_SIZE;

impl RequestHandler<DatagramRequest> for Chat {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let reply = match self.operator.take_turn(request.server())? {
            Some(mut turn) => {
                let packet = request.packet();
                let message = &packet[..packet.len().min(MESSAGE_SIZE)];
                turn.show_from(request.client_address(), message);
                turn.ask()
            }
            None => None,
        };
        // `send`, since an empty reply that is only written is not sent.
        Ok(request.send(reply.as_deref().map_or(BYE, <[u8]>::trim_ascii))?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockDatagram;

    use super::super::operator;
    use super::*;

    #[test]
    fn each_sender_is_sent_the_line_that_is_typed_after_its_datagram() {
        let (operator, screen) = operator("hi\n 你好 \r\nbye\n".as_bytes());
        for (port, packet, reply) in [
            (1001, "hello", "hi"),
            (1002, "嗨", "你好"),
            (1001, "bye", "bye"),
        ] {
            let client = MockDatagram::new(packet).client_address(([127, 0, 0, 1], port));
            let recording = client.run(Chat::new(operator.clone()));
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [reply.as_bytes()]);
        }
        let expected =
            "from 127.0.0.1:1001: hello\nfrom 127.0.0.1:1002: 嗨\nfrom 127.0.0.1:1001: bye\n";
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn an_empty_datagram_is_a_message_in_both_directions() {
        let (operator, screen) = operator(b" \n");
        let recording = MockDatagram::new("").run(Chat::new(operator));
        assert_eq!(recording.sent(), [b""]);
        assert_eq!(screen.text(), "from 127.0.0.1:49152: \n");
    }

    #[test]
    fn of_a_long_datagram_the_first_1024_bytes_are_shown() {
        let (operator, screen) = operator(b"hi\n");
        let client = MockDatagram::new([b'a'; 65_507]).truncated();
        client.run(Chat::new(operator));
        let expected = format!("from 127.0.0.1:49152: {}\n", "a".repeat(1024));
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn a_stranger_cannot_write_to_the_terminal() {
        let (operator, screen) = operator(b"hi\n");
        MockDatagram::new(b"\x1b[2J\nfrom me: \xff").run(Chat::new(operator));
        let expected = "from 127.0.0.1:49152: \\u{1b}[2J\\nfrom me: \u{fffd}\n";
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn an_operator_who_has_left_answers_bye() {
        let (operator, screen) = operator(b"");
        for _ in 0..2 {
            let recording = MockDatagram::new("hello").run(Chat::new(operator.clone()));
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [b"bye"]);
        }
        assert_eq!(screen.text(), "from 127.0.0.1:49152: hello\n".repeat(2));
    }

    #[test]
    fn a_stopping_server_answers_bye_without_waiting_for_the_operator() {
        let (operator, _) = operator(b"never sent\n");
        let (mut request, recording) = MockDatagram::new("hello").into_request();
        request.server().request_shutdown();
        Chat::new(operator).handle(&mut request).unwrap();
        assert_eq!(recording.sent(), [b"bye"]);
    }

    #[test]
    fn a_failed_send_is_reported_and_the_next_client_is_answered() {
        let (operator, _) = operator(b"one\ntwo\n");
        let client = MockDatagram::new("hello").send_error(ErrorKind::ConnectionRefused);
        assert!(client.run(Chat::new(operator.clone())).result().is_err());
        let recording = MockDatagram::new("hello").run(Chat::new(operator));
        assert_eq!(recording.sent(), [b"two"]);
    }
}
