//! The chat's client over a stream: a call.

use std::io::{BufRead, ErrorKind, Read, Write};

use socketserver_handlers::chat::BYE;

use super::conversation::MESSAGE_SIZE;
use super::time_left::Exchanges;
use super::user::User;
use crate::failure::Problem;

/// Takes turns with the server, this side first, until one side sends `bye`.
///
/// A line is sent as it is, in one piece; an empty line is skipped, since a stream has no empty
/// message. A message of the server is the bytes of one read of 1024. At the end of the input the
/// client sends `bye`, so that the other side does not wait.
pub fn call<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    stream: &mut impl Exchanges,
) -> Result<(), Problem> {
    loop {
        let line = user.ask("message> ", MESSAGE_SIZE)?;
        let message = line.as_deref().unwrap_or(BYE);
        if message.is_empty() {
            continue;
        }
        stream.begin_exchange();
        stream.write_all(message)?;
        stream.flush()?;
        if message == BYE {
            return Ok(());
        }
        let reply = read_message(stream)?;
        user.show(&reply)?;
        if reply.trim_ascii_end() == BYE {
            return Ok(());
        }
    }
}

/// Reads once, and returns the bytes.
pub fn read_message(stream: &mut impl Read) -> Result<Vec<u8>, Problem> {
    let mut message = vec![0; MESSAGE_SIZE];
    let length = loop {
        match stream.read(&mut message) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if length == 0 {
        return Err(Problem::Left);
    }
    message.truncate(length);
    Ok(message)
}

#[cfg(test)]
mod tests {
    use socketserver::mock::MockStream;

    use super::super::user::tests::piped;
    use super::*;

    /// The messages that are sent, the text that is shown, and the result.
    fn talk(input: &str, server: MockStream) -> (Vec<Vec<u8>>, String, Result<(), Problem>) {
        let (mut stream, recording) = server.into_request();
        let (shown, result) = piped(input, |user| call(user, &mut stream));
        (
            recording.writes(),
            String::from_utf8(shown).unwrap(),
            result,
        )
    }

    #[test]
    fn the_two_sides_take_turns_until_this_side_sends_bye() {
        let server = MockStream::new().chunk("你好").chunk("fine");
        let (sent, shown, result) = talk("hello\nhow are you?\nbye\nlost\n", server);
        result.unwrap();
        assert_eq!(sent, [b"hello".as_slice(), b"how are you?", b"bye"]);
        assert_eq!(shown, "你好\nfine\n");
    }

    #[test]
    fn the_other_side_s_bye_is_shown_and_ends_the_call() {
        for bye in ["bye", "bye\n", "bye\r\n"] {
            let server = MockStream::new().chunk(bye).chunk("lost");
            let (sent, shown, result) = talk("hello\nlost\n", server);
            result.unwrap();
            assert_eq!(sent, [b"hello"]);
            assert_eq!(shown, format!("{bye}\n"));
        }
    }

    #[test]
    fn an_empty_line_is_skipped_and_the_end_of_the_input_sends_bye() {
        let (sent, _, result) = talk("\n\n hi \n", MockStream::new().chunk("a"));
        result.unwrap();
        assert_eq!(sent, [b" hi ".as_slice(), b"bye"]);
    }

    #[test]
    fn a_server_that_leaves_without_bye_is_reported() {
        let (_, shown, result) = talk("a\nb\n", MockStream::new().chunk("hi"));
        assert!(matches!(result, Err(Problem::Left)));
        assert_eq!(shown, "hi\n");
    }

    #[test]
    fn of_a_flood_1024_bytes_are_a_message() {
        let (sent, shown, _) = talk("a\nb\n", MockStream::new().chunk([b'x'; 2048]));
        assert_eq!(sent, [b"a".as_slice(), b"b", b"bye"]);
        assert_eq!(shown, format!("{0}\n{0}\n", "x".repeat(1024)));
    }
}
