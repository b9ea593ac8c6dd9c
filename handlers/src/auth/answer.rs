//! The client's half of an authenticated link.

use std::io::{self, ErrorKind, Read, Write};

use crate::auth::CHALLENGE_LENGTH;
use crate::auth::digest::Digest;
use crate::auth::key::Key;

/// Answers the challenge at the beginning of an authenticated link. The conversation follows on the
/// same stream.
///
/// The function reads exactly the 32 bytes of the challenge, and writes and flushes the answer. The
/// server does not confirm a right answer, and closes the stream after a wrong answer. A server
/// without a link sends no challenge and waits for its client, so set a timeout on the stream
/// first.
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
/// [`UnexpectedEof`](ErrorKind::UnexpectedEof) if the server closes before its challenge is
/// complete; [`TimedOut`](ErrorKind::TimedOut) if the challenge takes longer than the stream's
/// timeout; and all errors of the stream.
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

/// Adds to the error of a missing challenge what the user can check.
fn explain(error: io::Error) -> io::Error {
    let message = match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the server closed the connection before its challenge was complete; check that the \
             server asks its clients to authenticate themselves"
        }
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            return io::Error::new(
                ErrorKind::TimedOut,
                "no challenge arrived in time; check that the server asks its clients to \
                 authenticate themselves",
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

    /// Answers the challenge of `server`, and returns the bytes that were sent.
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
    fn the_bytes_after_the_challenge_stay_in_the_stream() {
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
                error
                    .to_string()
                    .contains("before its challenge was complete"),
                "{error}"
            );
            assert!(sent.is_empty());
        }
    }

    #[test]
    fn a_server_that_sends_no_challenge_in_time_is_an_error_with_advice() {
        for kind in [ErrorKind::TimedOut, ErrorKind::WouldBlock] {
            let (result, _) = answer(MockStream::new().read_error(kind), Digest::Sha256);
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert!(
                error.to_string().contains("no challenge arrived in time"),
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
