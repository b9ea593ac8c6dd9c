//! Sends everything back in upper case.

use std::io::{Read, Write};

use socketserver::{ExchangeHandler, HandlerResult, StreamRequest};

use crate::one_read::MESSAGE_SIZE;

/// Sends every read of at most 1024 bytes back in upper case, until the client closes, as the
/// tutorial's authenticated link does after the challenge.
///
/// No byte is added or removed. Upper case is that of ASCII letters, as for Python's `bytes.upper`.
/// All other bytes, utf-8 or not, come back as they are, so a character that arrives in two pieces
/// stays whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct UpperLoop;

impl ExchangeHandler for UpperLoop {
    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut buffer = [0; MESSAGE_SIZE];
        let count = request.read(&mut buffer)?;
        buffer[..count].make_ascii_uppercase();
        Ok(request.write_all(&buffer[..count])?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use proptest::prelude::*;
    use socketserver::mock::MockStream;

    use super::*;

    #[test]
    fn every_message_comes_back_before_the_next_is_read() {
        let client = MockStream::new()
            .chunk("hello")
            .chunk("nice ")
            .chunk("day\n");
        let recording = client.run(UpperLoop);
        recording.result().as_ref().unwrap();
        assert_eq!(
            recording.writes(),
            [b"HELLO".as_slice(), b"NICE ", b"DAY\n"]
        );
        assert!(recording.is_flushed() && recording.is_shut_down());
    }

    #[test]
    fn messages_that_arrive_together_leave_together() {
        let recording = MockStream::new().chunk("hello\nday\n").run(UpperLoop);
        assert_eq!(recording.writes(), [b"HELLO\nDAY\n"]);
    }

    #[test]
    fn a_character_that_arrives_in_two_pieces_comes_back_whole() {
        let [first, second] = [b"a\xc3", b"\xa9b"];
        let recording = MockStream::new().chunk(first).chunk(second).run(UpperLoop);
        assert_eq!(recording.written(), "AéB".as_bytes());
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_its_upper_case_comes_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..8),
        ) {
            let client = MockStream::new();
            let client = chunks.iter().fold(client, |client, chunk| client.chunk(chunk));
            let recording = client.run(UpperLoop);
            prop_assert!(recording.result().is_ok());
            prop_assert_eq!(recording.written(), chunks.concat().to_ascii_uppercase());
        }
    }

    #[test]
    fn a_client_that_leaves_without_a_message_is_sent_nothing() {
        let recording = MockStream::new().run(UpperLoop);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"");
    }

    #[test]
    fn a_reset_is_reported_and_what_came_before_it_was_answered() {
        let client = MockStream::new().chunk("hello");
        let recording = client.read_error(ErrorKind::ConnectionReset).run(UpperLoop);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(recording.written(), b"HELLO");
    }

    #[test]
    fn a_failed_write_ends_the_request() {
        let client = MockStream::new().chunk("hello").chunk("day");
        let recording = client
            .write_error_after(5, ErrorKind::ConnectionReset)
            .run(UpperLoop);
        assert!(recording.result().is_err());
        assert_eq!(recording.written(), b"HELLO");
    }

    #[test]
    fn a_stopping_server_answers_what_has_come_and_waits_for_no_more() {
        let client = MockStream::new().chunk("hello").drain().chunk("too late");
        let recording = client.run(UpperLoop);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"HELLO");
    }
}
