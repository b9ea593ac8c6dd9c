//! Programs whose server sends as many bytes back as it gets.

use std::io::{Read, Write};

use socketserver_handlers::chat::printable;

use crate::failure::Problem;

/// So much of what is no answer is shown, in bytes.
const SHOWN: usize = 20;

/// Sends `message` in one piece, and reads as many bytes, in whatever pieces they come: the same, in
/// upper case or not. Others are not an answer; a challenge, perhaps, to a client without a key.
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

    /// Row 18 of the tutorial, once the link is established.
    #[test]
    fn each_message_is_sent_as_it_is_and_as_many_bytes_are_read() {
        let server = MockStream::new().chunk("HEL").chunk("LODA").chunk("Y");
        let (mut stream, recording) = server.into_request();
        assert_eq!(exchange(&mut stream, b"hello").unwrap(), b"HELLO");
        assert_eq!(exchange(&mut stream, b"day").unwrap(), b"DAY");
        assert_eq!(recording.writes(), [b"hello".as_slice(), b"day"]);
    }

    #[test]
    fn other_bytes_than_were_sent_are_no_answer() {
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
