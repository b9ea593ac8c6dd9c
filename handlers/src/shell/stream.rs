//! The shell over a connection.

use std::io::{self, BufRead, ErrorKind};
use std::time::Duration;

use socketserver::{HandlerResult, RequestHandler, StreamRequest};

use super::conversation_error::ConversationError;
use super::foreign::{Foreign, Opening};
use super::{Ending, Output, Refusal, Shell, reply, run};
use crate::one_read::MESSAGE_SIZE;

/// How long the shell waits for the next byte of a connection that begins as a request of HTTP
/// does, such as with `GET`, before it takes the bytes for a command.
const UNDECIDED: Duration = Duration::from_secs(1);

impl RequestHandler for Shell {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        let mut opening = Opening::default();
        while request.wait()? {
            let command = read_command(request, &mut opening)?;
            let command =
                command.map_err(|foreign| ConversationError::Foreign(foreign).into_error())?;
            let client = request.client_address();
            let output = match command {
                Ok(line) => {
                    log::info!("{client} runs {:?}", String::from_utf8_lossy(&line));
                    run(&line, &self.limits, request.socket())
                }
                Err(refusal) => Output::nothing(Ending::NotRun(refusal)),
            };
            let client_left = matches!(output.ending, Ending::ClientLeft);
            if let Some(note) = output.note() {
                // A client that leaves is no fault.
                let level = match client_left {
                    true => log::Level::Info,
                    false => log::Level::Warn,
                };
                log::log!(level, "{client}: {note}");
            }
            let out_of_step = matches!(output.ending, Ending::NotRun(Refusal::TooLong(_)));
            if client_left {
                // Shows the request how the connection has ended, for the log.
                request.wait()?;
                return Err(ConversationError::ClientLeft.into_error().into());
            }
            reply::send(request, self.framing, output, self.limits.timeout)?;
            if out_of_step {
                break;
            }
        }
        Ok(())
    }
}

/// Reads what has arrived together: a command, the reason not to run it, or a part of a protocol
/// that is not the shell's.
fn read_command(
    request: &mut StreamRequest,
    opening: &mut Opening,
) -> io::Result<Result<Result<Vec<u8>, Refusal>, Foreign>> {
    let mut command = Vec::new();
    loop {
        // The buffer holds more bytes than a command may have, so a longer one shows by its length.
        let received = request.fill_buf()?;
        let length = received.len();
        let begins = opening.add(received);
        command.extend_from_slice(received);
        request.consume(length);
        if let Some(foreign) = begins.or_else(|| Foreign::find_in(&command)) {
            return Ok(Err(foreign));
        }
        if !opening.is_undecided() || !has_more(request)? {
            break;
        }
    }
    Ok(Ok(match command.len() {
        length if length <= MESSAGE_SIZE => Ok(command),
        _ => Err(Refusal::TooLong(MESSAGE_SIZE)),
    }))
}

/// Waits for more bytes, no longer than [`UNDECIDED`].
fn has_more(request: &mut StreamRequest) -> io::Result<bool> {
    let deadlines = request.deadlines();
    request.set_deadlines(deadlines.capped(UNDECIDED));
    let received = request.fill_buf().map(|bytes| !bytes.is_empty());
    request.set_deadlines(deadlines);
    match received {
        Err(error) if error.kind() == ErrorKind::TimedOut => Ok(false),
        received => received,
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use socketserver::mock::{MockStream, StreamRecording};

    use super::*;
    use crate::shell::{Framing, Limits};

    const COMMAND: &str = "echo oops >&2; echo hi";

    fn converse(framing: Framing, client: MockStream) -> StreamRecording {
        client.run(Shell::default().framing(framing))
    }

    fn error(recording: &StreamRecording) -> String {
        recording.result().as_ref().unwrap_err().to_string()
    }

    /// The tutorial's client sends a command, and reads two pieces.
    #[test]
    fn without_a_frame_errors_and_output_are_sent_each_by_itself() {
        let recording = converse(Framing::Raw, MockStream::new().chunk(COMMAND).chunk("true"));
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"oops\n", b"hi\n".as_slice()]);
        assert!(recording.is_shut_down());
    }

    /// The length, `recv_ready`, so many bytes.
    #[test]
    fn the_length_comes_first_and_the_output_when_the_client_is_ready() {
        let client = MockStream::new()
            .chunk(COMMAND)
            .chunk("recv_ready")
            .chunk("true")
            .chunk("recv_ready");
        let recording = converse(Framing::Ready, client);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.writes(), [b"8", b"oops\nhi\n".as_slice(), b"0"]);
    }

    /// `struct.pack('i', 8)`, so many bytes.
    #[test]
    fn the_length_comes_in_four_bytes() {
        let client = MockStream::new().chunk(COMMAND).chunk("true");
        let recording = converse(Framing::Header, client);
        recording.result().as_ref().unwrap();
        let expected: [&[u8]; 2] = [b"\x08\0\0\0oops\nhi\n", b"\0\0\0\0"];
        assert_eq!(recording.writes(), expected);
    }

    /// The length of a JSON object in four bytes, the object, so many bytes.
    #[test]
    fn the_length_comes_in_a_json_object() {
        let client = MockStream::new().chunk(COMMAND).chunk("true");
        let recording = converse(Framing::Json, client);
        recording.result().as_ref().unwrap();
        let expected: [&[u8]; 2] = [
            b"\x0f\0\0\0{\"data_size\":8}oops\nhi\n",
            b"\x0f\0\0\0{\"data_size\":0}",
        ];
        assert_eq!(recording.writes(), expected);
    }

    #[test]
    fn what_arrives_together_is_one_script_and_what_arrives_in_pieces_several() {
        let client = MockStream::new().chunk("a=1\necho $a\n").chunk("echo $a.");
        let recording = converse(Framing::Raw, client);
        assert_eq!(recording.writes(), [b"1\n", b".\n"]);
    }

    #[test]
    fn an_output_longer_than_every_buffer_comes_whole() {
        let client = MockStream::new().chunk("head -c 300000 /dev/zero | tr '\\0' x");
        let recording = converse(Framing::Header, client.write_limit(1000));
        let expected = [&300_000_u32.to_le_bytes()[..], &[b'x'; 300_000]].concat();
        assert!(recording.written() == expected);
    }

    #[test]
    fn what_is_no_command_is_answered_and_the_next_one_is_run() {
        for (line, reason) in [
            (b" \r\n".as_slice(), "the command is empty"),
            (b"echo \xff", "the command is not utf-8"),
            (b"echo a\0b", "the command contains a NUL byte"),
        ] {
            let client = MockStream::new().chunk(line).chunk("echo next");
            let recording = converse(Framing::Header, client);
            recording.result().as_ref().unwrap();
            let note = format!("[not run: {reason}]\n");
            let length = u32::try_from(note.len()).unwrap().to_le_bytes();
            let expected = [&length, note.as_bytes(), b"\x05\0\0\0next\n"].concat();
            assert_eq!(recording.written(), expected);
        }
    }

    #[test]
    fn for_an_unknown_command_the_shell_answers_and_the_next_command_is_run() {
        let client = MockStream::new()
            .chunk("/no-such-command")
            .chunk("echo next");
        let recording = converse(Framing::Raw, client);
        recording.result().as_ref().unwrap();
        let [answer, next] = &recording.writes()[..] else {
            panic!("{recording:?}");
        };
        let answer = String::from_utf8_lossy(answer);
        // The shell's own words follow.
        assert!(answer.contains("/no-such-command: "), "{answer}");
        assert!(answer.ends_with('\n'), "{answer}");
        assert_eq!(next, b"next\n");
    }

    #[test]
    fn a_command_of_1024_bytes_is_run_and_of_a_longer_one_no_part_is() {
        let longest = format!("{:1024}", "echo hi");
        let client = MockStream::new().chunk(longest).chunk("echo next");
        assert_eq!(converse(Framing::Raw, client).written(), b"hi\nnext\n");

        for length in [1025, 8192, 50_000] {
            let too_long = format!("{:length$}", "echo hi; echo hi #");
            let client = MockStream::new().chunk(too_long).chunk("echo next");
            let recording = converse(Framing::Raw, client);
            recording.result().as_ref().unwrap();
            let expected = b"[not run: the command is longer than 1024 bytes]\n";
            assert_eq!(recording.written(), expected);
        }
    }

    #[test]
    fn the_answer_of_a_command_that_meets_a_limit_has_the_reason_and_the_next_one_is_run() {
        let shell = Shell::default().framing(Framing::Raw).limits(Limits {
            timeout: Duration::from_secs(3600),
            output: 10,
        });
        let client = MockStream::new()
            .chunk("echo 12345; yes")
            .chunk("echo next");
        let recording = client.run(shell);
        recording.result().as_ref().unwrap();
        let expected = b"12345\ny\ny\n[ended: it wrote more than 10 bytes]\nnext\n";
        assert_eq!(recording.written(), expected);

        let shell = Shell::default().framing(Framing::Raw).limits(Limits {
            timeout: Duration::from_millis(50),
            output: 10,
        });
        let recording = MockStream::new().chunk("exec sleep 3600").run(shell);
        recording.result().as_ref().unwrap();
        let expected = b"[ended: it ran for more than 50ms]\n";
        assert_eq!(recording.written(), expected);
    }

    #[test]
    fn ready_may_come_in_pieces_and_together_with_the_next_command() {
        let client = MockStream::new()
            .chunk("echo a")
            .chunk("r")
            .chunk("ecv_read")
            .chunk("yecho b")
            .chunk("recv_ready");
        let recording = converse(Framing::Ready, client);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"2a\n2b\n");
    }

    #[test]
    fn a_client_that_sends_anything_else_than_ready_is_sent_no_output() {
        for (sent, read) in [
            ("recv_reedy", "recv_reedy"),
            ("no", "no"),
            ("echo mistaken for an answer", "echo mista"),
            ("\u{1b}", "\\u{1b}"),
        ] {
            let client = MockStream::new().chunk("echo a").chunk(sent);
            let recording = converse(Framing::Ready, client.chunk("recv_ready"));
            let expected = format!(
                "the client had to send \"recv_ready\" after the length, and sent \"{read}\""
            );
            assert_eq!(error(&recording), expected);
            assert_eq!(recording.written(), b"2");
        }
    }

    #[test]
    fn a_client_that_has_ended_its_side_is_ready_and_one_that_only_sends_nothing_is_closed() {
        for sent in ["", "recv_read"] {
            let client = MockStream::new().chunk("echo a").chunk(sent);
            let recording = converse(Framing::Ready, client.clone());
            if sent.is_empty() {
                recording.result().as_ref().unwrap();
                assert_eq!(recording.written(), b"2a\n");
            } else {
                let expected =
                    "the client closed after the length, in the middle of \"recv_ready\"";
                assert_eq!(error(&recording), expected);
                assert_eq!(recording.written(), b"2");
            }

            let recording = converse(Framing::Ready, client.timeout().chunk("recv_ready"));
            let error = recording.result().as_ref().unwrap_err();
            let error = error.downcast_ref::<io::Error>().unwrap();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(recording.written(), b"2");
        }
    }

    #[test]
    fn the_time_to_be_ready_is_not_the_time_between_commands() {
        let (mut request, _) = MockStream::new()
            .chunk("echo a")
            .chunk("recv_ready")
            .into_request();
        let deadlines = request.deadlines();
        Shell::default()
            .framing(Framing::Ready)
            .handle(&mut request)
            .unwrap();
        assert_eq!(request.deadlines(), deadlines);
    }

    #[test]
    fn a_client_that_leaves_at_any_point_of_any_answer_ends_the_request() {
        for framing in Framing::ALL {
            let client = MockStream::new()
                .chunk("echo oops >&2; echo hi")
                .chunk("recv_ready");
            let whole = converse(framing, client.clone()).written();
            // Without a frame, what the client sends next is another command.
            let answer = match framing {
                Framing::Raw => &whole[..8],
                _ => &whole[..whole.len().min(27)],
            };
            for taken in 0..answer.len() {
                let client = client.clone();
                let client = client.write_error_after(taken, ErrorKind::ConnectionReset);
                let recording = converse(framing, client);
                assert!(recording.result().is_err(), "{framing} after {taken}");
                assert_eq!(recording.written(), answer[..taken]);
            }
        }
    }

    #[test]
    fn a_reset_at_any_point_of_the_conversation_is_reported() {
        let reset = |client: MockStream| client.read_error(ErrorKind::ConnectionReset);
        for framing in Framing::ALL {
            for client in [
                reset(MockStream::new()),
                reset(MockStream::new().chunk("echo a")),
                reset(MockStream::new().chunk("echo a").chunk("recv_")),
                reset(MockStream::new().chunk("echo a").chunk("recv_ready")),
            ] {
                let recording = converse(framing, client);
                let error = recording.result().as_ref().unwrap_err();
                let error = error.downcast_ref::<io::Error>().unwrap();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{framing}");
            }
        }
    }

    #[test]
    fn a_client_that_leaves_without_a_command_is_sent_nothing() {
        for framing in Framing::ALL {
            let recording = converse(framing, MockStream::new());
            recording.result().as_ref().unwrap();
            assert_eq!(recording.written(), b"");
        }
    }

    /// The bytes of a browser's request, which ends the connection.
    fn is_refused(framing: Framing, client: MockStream, ran: &std::path::Path) {
        let recording = converse(framing, client.chunk("echo next"));
        let error = error(&recording);
        assert!(error.contains("attack: the client speaks"), "{error}");
        assert_eq!(recording.written(), b"");
        assert!(!ran.exists());
    }

    #[test]
    fn a_request_of_a_browser_runs_nothing_in_whatever_pieces_it_comes() {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let run = format!("touch$IFS{}", ran.display());
        for request in [
            format!("GET /?;{run}; HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"),
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{run}"),
            format!("OPTIONS /;{run}; HTTP/1.1\r\nOrigin: null\r\n\r\n"),
            format!("\x16\x03\x01\x02;{run};"),
        ] {
            for framing in Framing::ALL {
                is_refused(framing, MockStream::new().chunk(&request), &ran);
                for size in [1, 2, 3, 7, 20] {
                    let pieces = request.as_bytes().chunks(size);
                    let client = pieces.fold(MockStream::new(), MockStream::chunk);
                    is_refused(framing, client, &ran);
                }
                let body = request.find("\r\n\r\n").map_or(4, |end| end + 4);
                let (head, body) = request.split_at(body);
                is_refused(framing, MockStream::new().chunk(head).chunk(body), &ran);
            }
        }
    }

    #[test]
    fn a_request_of_a_browser_behind_a_command_ends_the_connection() {
        let client = MockStream::new().chunk("echo a");
        let client = client.chunk("x /;id; HTTP/1.1\r\n").chunk("echo next");
        let recording = converse(Framing::Raw, client);
        assert_eq!(recording.written(), b"a\n");
        assert!(error(&recording).contains("attack"));
    }

    #[test]
    fn a_command_that_begins_as_a_request_does_is_run_when_nothing_follows() {
        for client in [
            MockStream::new().chunk("P").timeout(),
            MockStream::new().chunk("P"),
            MockStream::new().chunk("P").chunk("=1"),
        ] {
            let recording = converse(Framing::Raw, client);
            recording.result().as_ref().unwrap();
        }
        let client = MockStream::new().chunk("P").chunk("=1; echo $P");
        assert_eq!(converse(Framing::Raw, client).written(), b"1\n");
    }

    #[test]
    fn a_stopping_server_answers_the_command_that_has_come_and_waits_for_no_other() {
        let client = MockStream::new().chunk("echo a").drain().chunk("echo b");
        let recording = converse(Framing::Raw, client);
        recording.result().as_ref().unwrap();
        assert_eq!(recording.written(), b"a\n");
    }
}
