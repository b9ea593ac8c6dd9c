//! Greets, and closes.

use std::io::Write;

use socketserver::{HandlerResult, RequestHandler, StreamRequest};

use crate::one_read::read_once;

/// What [`Greeting`] sends: utf-8, without an end mark.
pub const GREETING: &str = "你好,欢迎光临! Hello and welcome!";

/// Greets a client that has said something, and closes: the tutorial's first handler.
///
/// It reads once, at most 1024 bytes, makes nothing of them, sends [`GREETING`] and closes. A client
/// that ends its side without a word is greeted too, as it is there.
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

    /// All bytes of the greeting, as a client that knows nothing of utf-8 sees them.
    const BYTES: &[u8] = b"\xe4\xbd\xa0\xe5\xa5\xbd,\xe6\xac\xa2\xe8\xbf\x8e\xe5\x85\x89\
        \xe4\xb8\xb4! Hello and welcome!";

    #[test]
    fn a_client_that_has_said_something_is_greeted_and_left() {
        let recording = MockStream::new().chunk("hi").run(Greeting);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [BYTES]);
        assert!(recording.is_flushed() && recording.is_shut_down());
    }

    #[test]
    fn nobody_is_greeted_twice_however_much_is_said() {
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
    fn a_client_that_ends_its_side_without_a_word_is_greeted() {
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
