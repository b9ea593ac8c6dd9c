//! Sends one message back in upper case.

use std::io::{Read, Write};

use socketserver::{ExchangeHandler, HandlerResult, StreamRequest};

use crate::one_read::MESSAGE_SIZE;

/// Sends one message back in upper case, and closes: the tutorial's complete `socketserver`
/// example.
///
/// The message is the bytes of one read of at most 1024. White space at both ends is removed; the
/// rest goes back without an end mark, and the connection is closed. An empty message, or a message
/// of white space only, has no answer.
///
/// Text is bytes, as in the tutorial: white space is space, `\t`, `\n`, `\v`, `\f` and `\r`, and
/// upper case is that of ASCII letters, as for Python's `bytes.strip` and `bytes.upper`. All other
/// bytes, utf-8 or not, come back as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upper;

impl ExchangeHandler for Upper {
    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut message = [0; MESSAGE_SIZE];
        let length = request.read(&mut message)?;
        request.close_connection();
        Ok(request.write_all(&strip(&message[..length]).to_ascii_uppercase())?)
    }
}

/// Removes white space at both ends, also vertical tabs, which `trim_ascii` leaves.
fn strip(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b'\t'..=b'\r' | b' ');
    let start = bytes.iter().position(is_text).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockStream;

    use super::*;

    /// The answer to a message that arrives in one piece.
    fn answer_to(message: &[u8]) -> Vec<u8> {
        let recording = MockStream::new().chunk(message).run(Upper);
        recording.result().as_ref().unwrap();
        assert!(recording.is_flushed() && recording.is_shut_down());
        recording.written()
    }

    #[test]
    fn the_tutorial_s_client_is_sent_its_hello_in_upper_case() {
        assert_eq!(answer_to(b"hello\n"), b"HELLO");
    }

    #[test]
    fn white_space_is_removed_at_both_ends_and_kept_between() {
        assert_eq!(answer_to(b" \t\n\x0b\x0c\r a b\nc \r\n"), b"A B\nC");
    }

    #[test]
    fn white_space_alone_has_no_answer() {
        assert_eq!(answer_to(b" \t\n\x0b\x0c\r"), b"");
    }

    #[test]
    fn only_ascii_letters_change() {
        assert_eq!(
            answer_to("straße, é, 你好\n".as_bytes()),
            "STRAßE, é, 你好".as_bytes()
        );
        assert_eq!(answer_to(b"\xffa\x00b\xfe\x80"), b"\xffA\x00B\xfe\x80");
        // Latin-1's no-break space is no white space in bytes.
        assert_eq!(answer_to(b"\xa0a\xa0"), b"\xa0A\xa0");
    }

    #[test]
    fn of_a_message_in_two_pieces_the_first_counts() {
        let recording = MockStream::new().chunk("hel").chunk("lo\n").run(Upper);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"HEL");
        assert!(recording.is_shut_down());
    }

    #[test]
    fn two_messages_that_arrive_together_are_one() {
        assert_eq!(answer_to(b"hello\nworld\n"), b"HELLO\nWORLD");
    }

    #[test]
    fn of_a_long_message_the_first_1024_bytes_are_answered() {
        assert_eq!(answer_to(&[b'a'; 1_000_000]), [b'A'; 1024]);
    }

    #[test]
    fn an_answer_leaves_whole_through_a_narrow_connection() {
        let recording = MockStream::new().chunk("hello\n").write_limit(2).run(Upper);
        assert_eq!(recording.writes(), [b"HE".as_slice(), b"LL", b"O"]);
    }

    #[test]
    fn a_client_that_leaves_without_a_message_is_sent_nothing() {
        let recording = MockStream::new().run(Upper);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"");
    }

    #[test]
    fn a_client_that_resets_is_reported() {
        let recording = MockStream::new()
            .read_error(ErrorKind::ConnectionReset)
            .run(Upper);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_client_that_leaves_before_its_answer_is_reported() {
        let recording = MockStream::new()
            .chunk("hello\n")
            .write_error_after(0, ErrorKind::BrokenPipe)
            .run(Upper);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_a_silent_client() {
        let recording = MockStream::new().drain().chunk("too late").run(Upper);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"");
    }
}
