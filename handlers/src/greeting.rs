//! Greets, and closes.

use std::io::Write;

use socketserver::{HandlerResult, RequestHandler, StreamRequest};

use crate::one_read::read_once;

/// The answer of [`Greeting`]: utf-8, without an end mark.
pub const GREETING: &str = "你好,欢迎光临! Hello and welcome!";

/// Greets a client after its first message, and closes: the tutorial's first handler.
///
/// The handler reads once, at most 1024 bytes, ignores them, sends [`GREETING`] and closes. A
/// client that shuts down its write end without a message is greeted too, as in the tutorial.
#[derive(Debug, Clone, Copy, Default)]
pub struct Greeting;

impl RequestHandler for Greeting {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        if read_once(request)?.is_some() {
            request.write_all(GREETING.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockStream;

    use super::*;

    /// The bytes of the greeting.
    const BYTES: &[u8] = b"\xe4\xbd\xa0\xe5\xa5\xbd,\xe6\xac\xa2\xe8\xbf\x8e\xe5\x85\x89\
        \xe4\xb8\xb4! Hello and welcome!";

    #[test]
    fn a_client_that_has_sent_a_message_is_greeted_and_closed() {
        let recording = MockStream::new().chunk("hi").run(Greeting);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [BYTES]);
        assert!(recording.is_flushed() && recording.is_shut_down());
    }

    #[test]
    fn no_client_is_greeted_twice_however_much_it_sends() {
        for client in [
            MockStream::new().chunk("h").chunk("i"),
            MockStream::new().chunk("hi\nhi\n"),
            MockStream::new().chunk([0xff; 100_000]),
        ] {
            let recording = client.run(Greeting);
            recording.result().as_ref().unwrap();
            assert_eq!(recording.written(), BYTES);
        }
    }

    #[test]
    fn a_client_that_shuts_down_without_a_message_is_greeted() {
        let recording = MockStream::new().run(Greeting);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), BYTES);
    }

    #[test]
    fn a_client_that_resets_is_reported_and_not_greeted() {
        let client = MockStream::new().read_error(ErrorKind::ConnectionReset);
        let recording = client.run(Greeting);
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(recording.written(), b"");
    }

    #[test]
    fn a_client_that_leaves_within_the_greeting_is_reported() {
        let client = MockStream::new().chunk("hi");
        let recording = client
            .write_error_after(6, ErrorKind::BrokenPipe)
            .run(Greeting);
        assert!(recording.result().is_err());
        assert_eq!(recording.written(), &BYTES[..6]);
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_a_silent_client() {
        let recording = MockStream::new().drain().chunk("too late").run(Greeting);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"");
    }
}
