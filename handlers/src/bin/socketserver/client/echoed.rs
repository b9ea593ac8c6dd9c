//! Programs whose server sends as many bytes back as it gets.

use std::io::{Read, Write};

use super::failure::Problem;

/// Sends `message` in one piece, and reads as many bytes, in whatever pieces they come.
pub fn exchange(stream: &mut (impl Read + Write), message: &[u8]) -> Result<Vec<u8>, Problem> {
    stream.write_all(message)?;
    stream.flush()?;
    let mut reply = vec![0; message.len()];
    stream.read_exact(&mut reply)?;
    Ok(reply)
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
    fn a_server_that_leaves_within_its_answer_is_reported() {
        let (mut stream, _) = MockStream::new().chunk("HEL").into_request();
        assert!(matches!(
            exchange(&mut stream, b"hello"),
            Err(Problem::Left)
        ));
    }
}
