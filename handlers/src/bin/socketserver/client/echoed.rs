//! Programs whose server sends as many bytes back as it receives.

use std::io::{Read, Write};

use socketserver_handlers::chat::printable;

use crate::failure::Problem;

/// How many bytes of a wrong answer the error shows.
const SHOWN: usize = 20;

/// Sends `message` in one piece, and reads the same number of bytes, in any number of pieces. The
/// answer is the same bytes, in upper case or not. Other bytes are an error: a client without a key
/// may have read a challenge.
pub fn exchange(stream: &mut (impl Read + Write), message: &[u8]) -> Result<Vec<u8>, Problem> {
    stream.write_all(message)?;
    stream.flush()?;
    let mut reply = vec![0; message.len()];
    stream.read_exact(&mut reply)?;
    if reply.eq_ignore_ascii_case(message) {
        Ok(reply)
    } else {
        let shown = printable(&reply[..reply.len().min(SHOWN)]);
        let reason = format!("it begins with {shown:?}, which is not what was sent");
        Err(Problem::Nonsense(reason))
    }
}

#[cfg(test)]
mod tests {
    use socketserver::mock::MockStream;

    use super::*;

    #[test]
    fn each_message_is_sent_as_it_is_and_as_many_bytes_are_read() {
        let server = MockStream::new().chunk("HEL").chunk("LODA").chunk("Y");
        let (mut stream, recording) = server.into_request();
        assert_eq!(exchange(&mut stream, b"hello").unwrap(), b"HELLO");
        assert_eq!(exchange(&mut stream, b"day").unwrap(), b"DAY");
        assert_eq!(recording.writes(), [b"hello".as_slice(), b"day"]);
    }

    #[test]
    fn other_bytes_than_were_sent_are_an_error() {
        let (mut stream, _) = MockStream::new().chunk(b"\x1b[2J\xff").into_request();
        let problem = exchange(&mut stream, b"hello").unwrap_err();
        let message = problem.to_string();
        assert!(message.contains("not what was sent"), "{message}");
        assert!(!message.contains('\x1b'), "{message}");
    }

    #[test]
    fn a_server_that_leaves_within_its_answer_is_reported() {
        let (mut stream, _) = MockStream::new().chunk("HEL").into_request();
        assert!(matches!(
            exchange(&mut stream, b"hello"),
            Err(Problem::Left)
        ));
    }
}
