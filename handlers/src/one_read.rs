//! A message of the tutorial's servers: the bytes of one read.

use std::io::{self, Read};

use socketserver::StreamRequest;

/// The most bytes of a message, as in the tutorial's `recv(1024)`.
pub(crate) const MESSAGE_SIZE: usize = 1024;

/// Reads the client's message: the bytes of one read. The message is empty if the client has closed
/// without sending. Returns `None` if the server is stopping and no byte has arrived.
pub(crate) fn read_once(request: &mut StreamRequest) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0; MESSAGE_SIZE];
    let length = if request.wait()? {
        request.read(&mut message)?
    } else if request.server().is_draining() {
        return Ok(None);
    } else {
        0
    };
    message.truncate(length);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use socketserver::mock::MockStream;

    use super::*;

    fn read_from(client: MockStream) -> io::Result<Option<Vec<u8>>> {
        read_once(&mut client.into_request().0)
    }

    #[test]
    fn a_message_is_the_bytes_of_one_read() {
        let client = MockStream::new().chunk("one").chunk("two");
        assert_eq!(read_from(client).unwrap().unwrap(), b"one");
    }

    #[test]
    fn a_message_has_at_most_1024_bytes() {
        let client = MockStream::new().chunk([b'a'; 5000]);
        assert_eq!(read_from(client).unwrap().unwrap(), [b'a'; 1024]);
    }

    #[test]
    fn a_client_that_closes_without_sending_has_sent_an_empty_message() {
        assert_eq!(read_from(MockStream::new()).unwrap().unwrap(), b"");
    }

    #[test]
    fn a_stopping_server_does_not_wait_for_a_message() {
        let client = MockStream::new().drain().chunk("too late");
        assert_eq!(read_from(client).unwrap(), None);
    }

    #[test]
    fn a_reset_is_an_error() {
        let client = MockStream::new().read_error(ErrorKind::ConnectionReset);
        let error = read_from(client).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
