//! The client's half.

use std::io::{self, ErrorKind, Read, Write};

use crate::auth::CHALLENGE_LENGTH;
use crate::auth::digest::Digest;
use crate::auth::key::Key;

/// Answers the challenge that begins an authenticated link; the conversation follows on the same
/// stream.
///
/// Exactly the 32 bytes of the challenge are read, and the answer is written and flushed. The server
/// does not say whether it was right: if it was wrong, the stream ends. A server that asks for no
/// answer waits for its client instead, so set a timeout on the stream before.
///
/// ```no_run
/// use std::net::TcpStream;
/// use std::time::Duration;
/// use socketserver_handlers::auth::{Digest, Key, answer_challenge};
///
/// let mut stream = TcpStream::connect("127.0.0.1:9999")?;
/// stream.set_read_timeout(Some(Duration::from_secs(10)))?;
/// let key = Key::new("Jedan has a big key!")?;
/// answer_challenge(&mut stream, &key, Digest::Md5)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the server closes before its challenge is complete;
/// [`TimedOut`](ErrorKind::TimedOut) or [`WouldBlock`](ErrorKind::WouldBlock), of which one is made
/// that says so, if it takes longer than the stream's timeout; and whatever the stream reports.
pub fn answer_challenge(
    stream: &mut (impl Read + Write),
    key: &Key,
    digest: Digest,
) -> io::Result<()> {
    let mut challenge = [0; CHALLENGE_LENGTH];
    stream.read_exact(&mut challenge).map_err(explain)?;
    stream.write_all(&digest.answer(key, &challenge))?;
    stream.flush()
}

/// Says of a challenge that did not come what that may mean.
fn explain(error: io::Error) -> io::Error {
    let message = match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the server closed before its challenge was complete; check that it asks its clients to \
             authenticate themselves"
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            return io::Error::new(
                ErrorKind::TimedOut,
                "no challenge came in time; check that the server asks its clients to authenticate \
                 themselves",
            );
        }
        _ => return error,
    };
    io::Error::new(error.kind(), message)
}

#[cfg(test)]
mod tests {
    use socketserver::mock::MockStream;

    use super::*;

    /// Answers what `server` sends, and gives what it was sent.
    fn answer(server: MockStream, digest: Digest) -> (io::Result<()>, Vec<u8>) {
        let key = Key::new("Jedan has a big key!").unwrap();
        let (mut stream, recording) = server.into_request();
        let result = answer_challenge(&mut stream, &key, digest);
        (result, recording.written())
    }

    #[test]
    fn the_answer_is_the_hmac_and_nothing_else() {
        let challenge = Vec::from_iter(0..32);
        let (first, second) = challenge.split_at(5);
        let server = MockStream::new().chunk(first).chunk(second);
        let (result, sent) = answer(server, Digest::Md5);
        result.unwrap();
        // hmac.new(b'Jedan has a big key!', bytes(range(32)), 'md5').digest()
        assert_eq!(
            sent,
            b"\x7e\xc2\xe5\x2c\x5c\xf8\x39\xff\x57\x06\x20\xbc\x2b\xf0\xb4\x65"
        );
    }

    #[test]
    fn what_comes_after_the_challenge_stays_in_the_stream() {
        let server = MockStream::new().chunk([7; 32]).chunk("welcome");
        let (mut stream, _) = server.into_request();
        let key = Key::new("key").unwrap();
        answer_challenge(&mut stream, &key, Digest::Sha256).unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "welcome");
    }

    #[test]
    fn a_challenge_that_is_cut_short_is_not_answered() {
        for length in [0, 1, 31] {
            let server = MockStream::new().chunk(vec![7; length]);
            let (result, sent) = answer(server, Digest::Sha256);
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert!(
                error.to_string().contains("the server closed before"),
                "{error}"
            );
            assert!(sent.is_empty());
        }
    }

    #[test]
    fn a_server_that_sends_no_challenge_in_time_is_said_to_ask_for_none() {
        for kind in [ErrorKind::TimedOut, ErrorKind::WouldBlock] {
            let (result, _) = answer(MockStream::new().read_error(kind), Digest::Sha256);
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(
                error.to_string().contains("no challenge came in time"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_reset_is_reported_as_it_is() {
        let server = MockStream::new().read_error(ErrorKind::ConnectionReset);
        let (result, _) = answer(server, Digest::Sha256);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}
