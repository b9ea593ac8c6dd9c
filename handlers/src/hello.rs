//! Logs one message, and answers `hi`.

use std::io::Write;

use socketserver::{Address, DatagramRequest, HandlerResult, RequestHandler, StreamRequest};

use crate::one_read::{MESSAGE_SIZE, read_once};

const REPLY: &[u8] = b"hi";

/// Logs one message, answers `hi`, and closes: the tutorial's first servers over TCP and UDP.
///
/// Over a stream the message is the bytes of one read of at most 1024. It is empty if the client
/// shuts down its write end without sending. Over datagrams the message is the first 1024 bytes of
/// the datagram. The tutorial's servers print the message. This handler logs it at level `info`
/// with the client's address, quoted and with control characters escaped, so that a client cannot
/// write to the terminal. Bytes that are not utf-8 are shown as U+FFFD.
///
/// The reply is the two bytes `hi`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hello;

impl RequestHandler for Hello {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        if let Some(message) = read_once(request)? {
            // A health check sends nothing, and leaves no line.
            if !message.is_empty() {
                log_message(request.client_address(), &message);
            }
            request.write_all(REPLY)?;
        }
        Ok(())
    }
}

impl RequestHandler<DatagramRequest> for Hello {
    fn handle(&mut self, request: &mut DatagramRequest) -> HandlerResult {
        let packet = request.packet();
        let message = &packet[..packet.len().min(MESSAGE_SIZE)];
        log_message(request.client_address(), message);
        Ok(request.write_all(REPLY)?)
    }
}

fn log_message(client: &Address, message: &[u8]) {
    log::info!("{client} sent {}", printable(message));
}

fn printable(message: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(message))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::{MockDatagram, MockStream};

    use super::*;

    #[test]
    fn a_client_that_has_sent_a_message_is_answered_hi() {
        let recording = MockStream::new().chunk("hello").run(Hello);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"hi"]);
        assert!(recording.is_flushed() && recording.is_shut_down());
    }

    #[test]
    fn one_reply_answers_every_message_in_however_many_pieces() {
        for client in [
            MockStream::new().chunk("hel").chunk("lo"),
            MockStream::new().chunk("hello\nhello\n"),
            MockStream::new().chunk([0xff; 100_000]),
            MockStream::new(),
        ] {
            let recording = client.run(Hello);
            recording.result().as_ref().unwrap();
            assert_eq!(recording.written(), b"hi");
        }
    }

    #[test]
    fn a_client_that_resets_is_reported() {
        let client = MockStream::new().read_error(ErrorKind::ConnectionReset);
        let recording = client.run(Hello);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(recording.written(), b"");
    }

    #[test]
    fn a_client_that_leaves_before_the_reply_is_reported() {
        let client = MockStream::new().chunk("hello");
        let recording = client
            .write_error_after(0, ErrorKind::BrokenPipe)
            .run(Hello);
        assert!(recording.result().is_err());
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_a_silent_client() {
        let recording = MockStream::new().drain().chunk("too late").run(Hello);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"");
    }

    #[test]
    fn every_datagram_is_answered_hi() {
        for client in [
            MockDatagram::new("hello"),
            MockDatagram::new(""),
            MockDatagram::new([0xff; 1024]).truncated(),
            MockDatagram::new([0xff; 65_507]),
        ] {
            let recording = client.run(Hello);
            recording.result().as_ref().unwrap();
            assert_eq!(recording.sent(), [b"hi"]);
        }
    }

    #[test]
    fn a_failed_send_is_reported() {
        let client = MockDatagram::new("hello").send_error(ErrorKind::ConnectionRefused);
        assert!(client.run(Hello).result().is_err());
    }

    #[test]
    fn a_logged_message_is_one_line_without_control_characters() {
        assert_eq!(printable("你好 hi".as_bytes()), "\"你好 hi\"");
        assert_eq!(printable(b"\x1b[2J\r\n\"\xff"), r#""\u{1b}[2J\r\n\"�""#);
    }
}
