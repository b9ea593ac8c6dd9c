//! Sends everything back.

use std::io::{BufRead, Write};

use socketserver::{DatagramRequest, ExchangeHandler, HandlerResult, StreamRequest};

/// Sends everything back, until the client closes.
///
/// Over a stream every byte comes back, in order; bytes that arrive together leave together. Over
/// datagrams each datagram comes back, an empty one too. A truncated datagram is not answered, and
/// is an error of the request.
///
/// The tutorial has no such program. This is the simplest use of its communication loop.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

impl ExchangeHandler for Echo {
    fn exchange(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let bytes = request.fill_buf()?.to_vec();
        request.consume(bytes.len());
        Ok(request.write_all(&bytes)?)
    }
}

impl ExchangeHandler<DatagramRequest> for Echo {
    fn exchange(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        if request.is_truncated() {
            let received = request.packet().len();
            return Err(format!("not echoed: the datagram has more than {received} bytes").into());
        }
        Ok(request.send(request.packet())?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use proptest::prelude::*;
    use socketserver::mock::{MockDatagram, MockStream};

    use super::*;
    use crate::one_read::MESSAGE_SIZE;

    #[test]
    fn what_comes_is_sent_back_before_the_next_read() {
        let recording = MockStream::new().chunk("one\n").chunk("two").run(Echo);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"one\n".as_slice(), b"two"]);
        assert!(recording.is_flushed() && recording.is_shut_down());
    }

    #[test]
    fn messages_that_arrive_together_leave_together() {
        let recording = MockStream::new().chunk("one\ntwo\n").run(Echo);
        assert_eq!(recording.writes(), [b"one\ntwo\n"]);
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_the_same_bytes_come_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..8),
            write_limit in 1_usize..5000,
        ) {
            let client = MockStream::new().write_limit(write_limit);
            let client = chunks.iter().fold(client, |client, chunk| client.chunk(chunk));
            let recording = client.run(Echo);
            prop_assert!(recording.result().is_ok());
            prop_assert_eq!(recording.written(), chunks.concat());
        }
    }

    #[test]
    fn a_message_larger_than_every_buffer_comes_back_whole() {
        let bytes = Vec::from_iter((0..100 * MESSAGE_SIZE).map(|i| i.to_le_bytes()[0]));
        let recording = MockStream::new().chunk(&bytes).run(Echo);
        assert_eq!(recording.written(), bytes);
    }

    #[test]
    fn a_client_that_leaves_without_a_message_is_sent_nothing() {
        let recording = MockStream::new().run(Echo);
        recording.result().as_ref().unwrap();
        assert!(recording.written().is_empty());
        assert!(recording.is_shut_down());
    }

    #[test]
    fn a_reset_is_reported_and_what_came_before_it_was_answered() {
        let client = MockStream::new().chunk("one");
        let recording = client.read_error(ErrorKind::ConnectionReset).run(Echo);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(recording.written(), b"one");
    }

    #[test]
    fn a_client_that_takes_no_more_ends_the_request() {
        let client = MockStream::new().chunk("one").chunk("two");
        let recording = client.write_error_after(2, ErrorKind::BrokenPipe).run(Echo);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(recording.written(), b"on");
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_the_client() {
        let client = MockStream::new().chunk("one").drain().chunk("too late");
        let recording = client.run(Echo);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"one");
    }

    #[test]
    fn a_datagram_comes_back_as_it_is_also_when_it_is_empty() {
        for packet in [b"hello\n".as_slice(), b"", b"\xff\x00", &[7; 65_507]] {
            let recording = MockDatagram::new(packet).run(Echo);
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [packet]);
        }
    }

    #[test]
    fn the_beginning_of_a_longer_datagram_is_not_taken_for_the_whole() {
        let recording = MockDatagram::new("begin").truncated().run(Echo);
        let error = recording.result().as_ref().unwrap_err().to_string();
        assert_eq!(error, "not echoed: the datagram has more than 5 bytes");
        assert!(recording.sent().is_empty());
    }

    #[test]
    fn a_failed_send_is_reported() {
        let client = MockDatagram::new("one").send_error(ErrorKind::ConnectionRefused);
        let error = client.run(Echo).result().as_ref().unwrap_err().to_string();
        assert!(
            error.starts_with("cannot send a datagram of 3 bytes"),
            "{error}"
        );
    }
}
