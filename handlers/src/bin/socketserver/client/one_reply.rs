//! Programs whose server answers one message, and closes.

use std::io::{Read, Write};

use super::conversation::MESSAGE_SIZE;
use crate::failure::Problem;

/// Sends `message` in one piece, and reads up to 1024 bytes until the server closes.
pub fn exchange(stream: &mut (impl Read + Write), message: &[u8]) -> Result<Vec<u8>, Problem> {
    stream.write_all(message)?;
    stream.flush()?;
    let mut reply = Vec::new();
    stream.take(MESSAGE_SIZE as u64).read_to_end(&mut reply)?;
    // `upper` answers white space with no bytes.
    if reply.is_empty() && !message.trim_ascii().is_empty() {
        return Err(Problem::Left);
    }
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockStream;

    use super::*;

    fn ask(server: MockStream, message: &str) -> (Result<Vec<u8>, Problem>, Vec<Vec<u8>>) {
        let (mut stream, recording) = server.into_request();
        let reply = exchange(&mut stream, message.as_bytes());
        (reply, recording.writes())
    }

    #[test]
    fn the_message_is_sent_as_it_is_and_the_reply_ends_where_the_server_closes() {
        let (reply, sent) = ask(MockStream::new().chunk("h").chunk("i"), "hello!");
        assert_eq!(reply.unwrap(), b"hi");
        assert_eq!(sent, [b"hello!"]);
    }

    #[test]
    fn of_an_endless_reply_1024_bytes_are_read() {
        let (reply, _) = ask(MockStream::new().chunk([b'a'; 100_000]), "hello!");
        assert_eq!(reply.unwrap(), [b'a'; 1024]);
    }

    #[test]
    fn a_server_that_leaves_without_a_byte_has_not_answered() {
        let (reply, _) = ask(MockStream::new(), "hello!");
        assert!(matches!(reply, Err(Problem::Left)));
        let (reply, _) = ask(MockStream::new(), "\n");
        assert_eq!(reply.unwrap(), b"");
    }

    #[test]
    fn a_reset_and_a_silent_server_have_errors_of_their_own() {
        let reset = MockStream::new()
            .chunk("h")
            .read_error(ErrorKind::ConnectionReset);
        assert!(matches!(ask(reset, "hello!").0, Err(Problem::Left)));
        let silent = MockStream::new().chunk("h").timeout();
        assert!(matches!(ask(silent, "hello!").0, Err(Problem::NoAnswer)));
    }
}
