//! The shell's client over a stream, in every framing.

use std::io::{BufRead, Read, Write};

use serde::Deserialize;
use socketserver_handlers::framing::{Body, LengthPrefix};
use socketserver_handlers::shell::Framing;

use super::call::read_message;
use super::user::User;
use crate::failure::Problem;

/// Every length is allowed, since the client passes the bytes on as they arrive.
const ANY_LENGTH: LengthPrefix = LengthPrefix::little_endian().max_length(u32::MAX);

/// A header is held in memory, hence the default limit of 1 MiB.
const HEADER: LengthPrefix = LengthPrefix::little_endian();

/// What the client sends when it has read the length.
const READY: &[u8] = b"recv_ready";

/// The JSON object before an answer.
#[derive(Debug, Deserialize)]
struct Header {
    data_size: u64,
}

/// Sends a command in one piece, and passes the answer on as it arrives. The answer is not held in
/// memory, so it may have any length.
///
/// In [`Framing::Raw`] the answer is the bytes of one read of 1024, as in the tutorial. The rest of
/// a longer answer is shown after the next command. If a command has no output, no answer comes,
/// and standard error has a warning after the timeout.
pub fn exchange<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    stream: &mut (impl Read + Write),
    framing: Framing,
    command: &[u8],
) -> Result<(), Problem> {
    stream.write_all(command)?;
    stream.flush()?;
    let length = match framing {
        Framing::Raw => return pass_one_read(user, stream),
        Framing::Ready => {
            let length = parse_length(&read_message(stream)?)?;
            stream.write_all(READY)?;
            stream.flush()?;
            length
        }
        Framing::Header => ANY_LENGTH.read_length(stream)?.ok_or(Problem::Left)?.into(),
        _ => {
            let header: Option<Header> = HEADER.read_json_header(stream)?;
            header.ok_or(Problem::Left)?.data_size
        }
    };
    user.write_all_of(Body::new(stream, length))
}

fn pass_one_read<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    stream: &mut impl Read,
) -> Result<(), Problem> {
    match read_message(stream) {
        Err(Problem::NoAnswer) => {
            log::warn!("nothing has come; a command without output has no answer in raw framing");
            Ok(())
        }
        answer => {
            user.write(&answer?)?;
            user.flush()
        }
    }
}

/// Parses the decimal digits before an answer.
fn parse_length(digits: &[u8]) -> Result<u64, Problem> {
    let number = str::from_utf8(digits).ok();
    let number = number.filter(|it| it.bytes().all(|digit| digit.is_ascii_digit()));
    number.and_then(|it| it.parse().ok()).ok_or_else(|| {
        let shown = String::from_utf8_lossy(&digits[..digits.len().min(20)]).into_owned();
        Problem::Nonsense(format!("it begins with {shown:?} where a length should be"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use socketserver::mock::MockStream;

    use super::super::conversation::{LineRule, converse};
    use super::super::user::tests::piped;
    use super::*;

    /// The bytes that are sent, the bytes that are shown, and the result.
    fn talk(
        framing: Framing,
        input: &str,
        server: MockStream,
    ) -> (Vec<Vec<u8>>, Vec<u8>, Result<(), Problem>) {
        let (mut stream, recording) = server.into_request();
        let (shown, result) = piped(input, |user| {
            converse(user, "> ", LineRule::TrimmedNotEmpty, |user, line| {
                exchange(user, &mut stream, framing, line)
            })
        });
        (recording.writes(), shown, result)
    }

    const INPUT: &str = " ls -l \n\necho hi\nquit\nlost\n";

    #[test]
    fn without_a_frame_an_answer_is_what_one_read_of_1024_bytes_gives() {
        let server = MockStream::new().chunk([b'x'; 1500]).chunk("hi\n");
        let (sent, shown, result) = talk(Framing::Raw, INPUT, server);
        result.unwrap();
        assert_eq!(sent, [b"ls -l".as_slice(), b"echo hi"]);
        // The rest of the first answer is shown as the second.
        assert_eq!(shown, [b'x'; 1500]);
    }

    #[test]
    fn without_a_frame_a_command_without_output_has_no_answer_and_the_next_one_has() {
        let server = MockStream::new().timeout().chunk("hi\n");
        let (sent, shown, result) = talk(Framing::Raw, "true\necho hi\n", server);
        result.unwrap();
        assert_eq!(sent, [b"true".as_slice(), b"echo hi"]);
        assert_eq!(shown, b"hi\n");
    }

    #[test]
    fn the_client_sends_ready_when_it_has_the_length() {
        let server = MockStream::new();
        let server = server.chunk("8").chunk("tot").chunk("al 0\n").chunk("0");
        let (sent, shown, result) = talk(Framing::Ready, INPUT, server);
        result.unwrap();
        let expected = [
            b"ls -l".as_slice(),
            b"recv_ready",
            b"echo hi",
            b"recv_ready",
        ];
        assert_eq!(sent, expected);
        assert_eq!(shown, b"total 0\n");
    }

    #[test]
    fn four_bytes_have_the_length() {
        let server = MockStream::new()
            .chunk("\x08\0")
            .chunk("\0\0total 0\n\x03\0\0\0hi\n");
        let (sent, shown, result) = talk(Framing::Header, INPUT, server);
        result.unwrap();
        assert_eq!(sent, [b"ls -l".as_slice(), b"echo hi"]);
        assert_eq!(shown, b"total 0\nhi\n");
    }

    /// The first header has the space that Python's `json.dumps` writes.
    #[test]
    fn a_json_object_has_the_length() {
        let server = MockStream::new()
            .chunk("\x10\0\0\0{\"data_size\": 8}total 0\n")
            .chunk("\x0f\0\0\0{\"data_size\":3}hi\n");
        let (sent, shown, result) = talk(Framing::Json, INPUT, server);
        result.unwrap();
        assert_eq!(sent, [b"ls -l".as_slice(), b"echo hi"]);
        assert_eq!(shown, b"total 0\nhi\n");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_an_error_with_the_reason() {
        for (framing, answer, reason) in [
            (
                Framing::Ready,
                "hello\x1b[2J",
                r#"it begins with "hello\u{1b}[2J""#,
            ),
            (Framing::Ready, "-5", "it begins with \"-5\""),
            (Framing::Ready, "+5", "it begins with \"+5\""),
            (
                Framing::Ready,
                "99999999999999999999999",
                "it begins with \"99999999999999999999\"",
            ),
            (
                Framing::Header,
                "\u{7f}\u{7f}\u{7f}\x7f",
                "the server closed",
            ),
            (Framing::Json, "HTTP/1.1 400", "above the limit"),
            (Framing::Json, "\x04\0\0\0oops", "the header is not JSON"),
            (
                Framing::Json,
                "\x02\0\0\0{}",
                "the header is not of the expected form",
            ),
            (
                Framing::Json,
                "\x10\0\0\0{\"data_size\":-1}",
                "the header is not of the expected form",
            ),
        ] {
            let (_, shown, result) = talk(framing, "ls\n", MockStream::new().chunk(answer));
            let message = result.unwrap_err().to_string();
            assert!(message.contains(reason), "{framing} {answer:?}: {message}");
            assert_eq!(shown, b"");
        }
        let negative = MockStream::new().chunk([0xff; 4]);
        let message = talk(Framing::Header, "ls\n", negative).2.unwrap_err();
        assert!(message.to_string().contains("negative: -1"), "{message}");
    }

    #[test]
    fn the_bytes_of_a_server_that_leaves_at_any_point_are_shown() {
        for (framing, answer) in [
            (Framing::Ready, "8"),
            (Framing::Header, "\x08\0\0\0total 0\n"),
            (Framing::Json, "\x0f\0\0\0{\"data_size\":8}total 0\n"),
        ] {
            for length in 0..answer.len() {
                let server = MockStream::new().chunk(&answer[..length]);
                let (_, shown, result) = talk(framing, "ls\n", server);
                assert!(
                    matches!(result, Err(Problem::Left)),
                    "{framing} after {length}"
                );
                let body = answer.find("total").unwrap_or(answer.len());
                assert_eq!(shown, &answer.as_bytes()[body.min(length)..length]);
            }
        }
    }

    #[test]
    fn an_answer_announced_as_endless_is_passed_on_as_it_comes() {
        for (framing, length) in [
            (Framing::Header, b"\xff\xff\xff\x7f".to_vec()),
            (
                Framing::Json,
                b"\x21\0\0\0{\"data_size\":9223372036854775807}".to_vec(),
            ),
        ] {
            let server = MockStream::new().chunk(length).chunk("some");
            let (_, shown, result) = talk(framing, "ls\n", server);
            assert!(
                matches!(result, Err(Problem::Left)),
                "{framing}: {result:?}"
            );
            assert_eq!(shown, b"some");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_sends_is_shown_or_an_error(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            for framing in Framing::ALL {
                let server = MockStream::new();
                let server = chunks.iter().fold(server, |server, chunk| server.chunk(chunk));
                let (_, shown, _) = talk(framing, "ls\nls\n", server);
                prop_assert!(shown.len() <= chunks.concat().len());
            }
        }
    }
}
