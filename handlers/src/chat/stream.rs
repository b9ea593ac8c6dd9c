//! The chat over a stream: the two sides take turns until one sends `bye`.

use std::io::{self, Read, Write};

use socketserver::{HandlerResult, RequestHandler, StreamRequest};

use super::operator::Turn;
use super::printable::without_line_end;
use super::{BYE, Chat};
use crate::one_read::MESSAGE_SIZE;

impl RequestHandler for Chat {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let Some(first) = next_message(request)? else {
            return Ok(());
        };
        let Some(mut turn) = self.operator.take_turn(request.server())? else {
            return Ok(request.write_all(BYE)?);
        };
        let mut message = first;
        loop {
            turn.show(&message);
            if without_line_end(&message) == BYE {
                return Ok(());
            }
            let reply = next_reply(&mut turn);
            request.write_all(&reply)?;
            // Flushed now: the next read may wait for long.
            request.flush()?;
            if reply == BYE {
                return Ok(());
            }
            match next_message(request)? {
                Some(next) => message = next,
                None => return Ok(()),
            }
        }
    }
}

/// Reads the next message. Returns `None` if the client has left. Also returns `None` if the server
/// is stopping, which then sends `bye`.
fn next_message(request: &mut StreamRequest) -> io::Result<Option<Vec<u8>>> {
    if request.wait()? {
        let mut message = vec![0; MESSAGE_SIZE];
        let length = request.read(&mut message)?;
        message.truncate(length);
        return Ok(Some(message));
    }
    if request.server().is_draining() {
        request.write_all(BYE)?;
    } else {
        log::info!("{} has left without bye", request.client_address());
    }
    Ok(None)
}

/// Asks the operator for a reply: `bye` if the operator has left, or the server is stopping.
fn next_reply(turn: &mut Turn<'_>) -> Vec<u8> {
    loop {
        match turn.ask() {
            None => return BYE.to_vec(),
            Some(line) if line.is_empty() => {}
            Some(line) => return line,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, ErrorKind};

    use proptest::prelude::*;
    use socketserver::layer::LayerHandle;
    use socketserver::mock::MockStream;

    use super::super::operator;
    use super::super::operator::Operator;
    use super::*;

    /// The writes to the client, and the screen, of a call that ends without an error.
    fn call(client: MockStream, input: &'static [u8]) -> (Vec<Vec<u8>>, String) {
        let (operator, screen) = operator(input);
        let recording = client.run(Chat::new(operator));
        recording.result().as_ref().unwrap();
        assert!(recording.is_flushed() && recording.is_shut_down());
        (recording.writes(), screen.text())
    }

    #[test]
    fn the_two_sides_take_turns_until_the_client_sends_bye() {
        let client = MockStream::new()
            .chunk("hello")
            .chunk("你好")
            .chunk("bye")
            .chunk("too late");
        let (writes, screen) = call(client, "hi\n再见\nnever sent\n".as_bytes());
        assert_eq!(writes, [b"hi".as_slice(), "再见".as_bytes()]);
        assert_eq!(screen, "hello\n你好\nbye\n");
    }

    #[test]
    fn the_operator_s_bye_is_sent_and_ends_the_call() {
        let client = MockStream::new().chunk("hello").chunk("too late");
        let (writes, screen) = call(client, b"bye\nnever sent\n");
        assert_eq!(writes, [b"bye"]);
        assert_eq!(screen, "hello\n");
    }

    #[test]
    fn a_bye_with_a_line_end_ends_the_call_and_a_longer_message_does_not() {
        for bye in ["bye\n", "bye\r\n"] {
            let (writes, _) = call(MockStream::new().chunk(bye), b"never sent\n");
            assert!(writes.is_empty());
        }
        let client = MockStream::new()
            .chunk("bye bye")
            .chunk(" bye")
            .chunk("Bye");
        let (writes, _) = call(client, b" bye\ngoodbye\nbye bye\n");
        assert_eq!(writes, [b" bye".as_slice(), b"goodbye", b"bye bye"]);
    }

    #[test]
    fn an_empty_line_is_skipped() {
        let client = MockStream::new().chunk("hello").chunk("bye");
        let (writes, _) = call(client, b"\n\r\n\nhi\n");
        assert_eq!(writes, [b"hi"]);
    }

    #[test]
    fn of_what_arrives_together_one_read_is_one_message() {
        let client = MockStream::new().chunk([b'a'; 1500]);
        let (writes, screen) = call(client, b"one\ntwo\nthree\n");
        assert_eq!(writes, [b"one".as_slice(), b"two"]);
        assert_eq!(
            screen,
            format!("{}\n{}\n", "a".repeat(1024), "a".repeat(476))
        );
        let (writes, screen) = call(MockStream::new().chunk("hello\nbye"), b"bye\n");
        assert_eq!(writes, [b"bye"]);
        assert_eq!(screen, "hello\\nbye\n");
    }

    #[test]
    fn a_message_in_two_pieces_is_two_messages() {
        let client = MockStream::new().chunk("by").chunk("e");
        let (writes, screen) = call(client, b"what?\nwhat?\n");
        assert_eq!(writes, [b"what?", b"what?"]);
        assert_eq!(screen, "by\ne\n");
    }

    #[test]
    fn a_stranger_cannot_write_to_the_terminal() {
        let client = MockStream::new()
            .chunk(b"\x1b]0;owned\x07\xff\x00")
            .chunk("bye");
        let (_, screen) = call(client, b"hi\n");
        assert_eq!(screen, "\\u{1b}]0;owned\\u{7}\u{fffd}\\u{0}\nbye\n");
    }

    #[test]
    fn an_operator_who_has_left_ends_every_call_with_bye() {
        let (operator, screen) = operator(b"hi\n");
        let client = MockStream::new()
            .chunk("one")
            .chunk("two")
            .chunk("never read");
        let recording = client.run(Chat::new(operator.clone()));
        assert_eq!(recording.writes(), [b"hi".as_slice(), b"bye"]);
        let recording = MockStream::new().chunk("three").run(Chat::new(operator));
        assert_eq!(recording.writes(), [b"bye"]);
        assert_eq!(screen.text(), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_client_that_leaves_without_a_message_is_sent_nothing_and_not_shown() {
        let (writes, screen) = call(MockStream::new(), b"never sent\n");
        assert!(writes.is_empty());
        assert_eq!(screen, "");
    }

    #[test]
    fn a_client_that_breaks_off_frees_the_operator_for_the_next() {
        let (operator, screen) = operator(b"one\ntwo\nthree\nfour\n");
        let left = || MockStream::new().chunk("left");
        let reset = || {
            MockStream::new()
                .chunk("reset")
                .read_error(ErrorKind::ConnectionReset)
        };
        let failed = || {
            MockStream::new()
                .chunk("failed")
                .write_error_after(2, ErrorKind::BrokenPipe)
        };
        for (client, ends_well) in [(left(), true), (reset(), false), (failed(), false)] {
            let recording = client.run(Chat::new(operator.clone()));
            assert_eq!(recording.result().is_ok(), ends_well);
        }
        let recording = MockStream::new().chunk("next").run(Chat::new(operator));
        assert_eq!(recording.writes(), [b"four"]);
        assert_eq!(screen.text(), "left\nreset\nfailed\nnext\n");
    }

    #[test]
    fn a_stopping_server_sends_bye_to_a_client_that_it_waits_for() {
        let (writes, screen) = call(MockStream::new().drain().chunk("late"), b"never sent\n");
        assert_eq!(writes, [b"bye"]);
        assert_eq!(screen, "");
        let client = MockStream::new().chunk("hello").drain().chunk("late");
        let (writes, screen) = call(client, b"hi\nnever sent\n");
        assert_eq!(writes, [b"hi".as_slice(), b"bye"]);
        assert_eq!(screen, "hello\n");
    }

    #[test]
    fn a_stopping_server_sends_bye_to_a_client_whose_answer_is_not_typed_yet() {
        let (keyboard, _typist) = io::pipe().unwrap();
        let operator = Operator::new(BufReader::new(keyboard), io::sink());
        let (mut request, recording) = MockStream::new().chunk("hello").into_request();
        request.server().request_shutdown();
        Chat::new(operator).handle(&mut request).unwrap();
        request.flush().unwrap();
        assert_eq!(recording.written(), b"bye");
    }

    /// `Cursor` is a screen that takes nothing.
    #[test]
    fn a_client_whose_operator_has_lost_the_screen_is_sent_bye_and_so_is_the_next() {
        let operator = Operator::new(b"hi\n".as_slice(), io::Cursor::new([0; 0]));
        for _ in 0..2 {
            let client = MockStream::new().chunk("hello").chunk("lost");
            let recording = client.run(Chat::new(operator.clone()));
            recording.result().as_ref().unwrap();
            assert_eq!(recording.writes(), [b"bye"]);
        }
    }

    #[test]
    fn a_client_whose_operator_has_lost_the_keyboard_is_sent_bye() {
        struct Unplugged;
        impl Read for Unplugged {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("unplugged"))
            }
        }
        let operator = Operator::new(BufReader::new(Unplugged), io::sink());
        let recording = MockStream::new().chunk("hello").run(Chat::new(operator));
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"bye"]);
    }

    proptest! {
        #[test]
        fn whatever_a_client_sends_every_message_is_answered_once(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..1024), 0..5),
        ) {
            let operator = Operator::new(io::Cursor::new(b"hi\n".repeat(5)), io::sink());
            let client = MockStream::new();
            let client = chunks.iter().fold(client, |client, chunk| client.chunk(chunk));
            let recording = client.run(Chat::new(operator));
            prop_assert!(recording.result().is_ok());
            let until_bye = chunks.iter().take_while(|it| without_line_end(it) != BYE);
            prop_assert_eq!(recording.writes().len(), until_bye.count());
        }
    }

    #[test]
    fn two_calls_do_not_mix_at_the_operator() {
        let (operator, screen) = operator(b"1\n2\n3\n");
        let server = LayerHandle::new().server().clone();
        let turn = operator.take_turn(&server).unwrap().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let client = MockStream::new()
                    .chunk("first")
                    .chunk("second")
                    .chunk("bye");
                let chat = Chat::new(operator.clone());
                scope.spawn(move || client.run(chat));
            }
            drop(turn);
        });
        assert_eq!(screen.text(), "first\nsecond\nbye\nfirst\nsecond\n");
    }
}
