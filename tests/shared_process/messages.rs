//! `next_line` and its siblings: whole messages of a bounded size, or an error of their own.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use socketserver::mock::MockStream;
use socketserver::{
    DeadlineExceeded, Deadlines, MessageError, Serve, StreamRequest, TcpServer, ThreadingMixIn,
};
use support::clients::StreamClient;
use support::reports::reports;
use support::running_server::{RunningServer, close};
use support::services::stream_handler;
use support::waiting::eventually;

/// The lines of at most four bytes that a client's chunks make, and the error that ends them.
fn lines(chunks: &[&[u8]]) -> (Vec<String>, Option<MessageError>) {
    let mock = chunks
        .iter()
        .fold(MockStream::new(), |mock, chunk| mock.chunk(chunk));
    let (mut request, _) = mock.into_request();
    let mut lines = Vec::new();
    loop {
        match request.next_line(4) {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => return (lines, None),
            Err(error) => {
                let found = MessageError::find_in(&error);
                assert!(found.is_some(), "{error}");
                // After the error nothing more is read.
                assert_eq!(
                    request.next_line(4).unwrap_err().to_string(),
                    error.to_string()
                );
                assert_eq!(request.next_exact(1).unwrap_err().kind(), error.kind());
                return (lines, found);
            }
        }
    }
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

#[test]
fn lines_are_whole_however_the_bytes_arrive() {
    for chunks in [
        &[&b"a\nbc\r\n\n1234\n"[..]][..],
        &[b"a", b"\nb", b"c\r", b"\n\n12", b"34", b"\n"],
    ] {
        let (got, error) = lines(chunks);
        assert_eq!((got, error), (strings(&["a", "bc", "", "1234"]), None));
    }
    // A carriage return is a part of the end, and not of the line's four bytes.
    assert_eq!(lines(&[b"1234\r\n"]).0, ["1234"]);
    assert_eq!(lines(&[b"1234\r", b"\n"]).0, ["1234"]);
}

#[test]
fn a_line_that_is_too_long_is_no_line_and_the_last() {
    for chunks in [
        &[&b"a\n12345\nb\n"[..]][..],
        &[b"a\n123", b"45", b"\nb\n"],
        &[b"a\n12345\r\n"],
        &[b"a\n1234\rx\n"],
    ] {
        let (got, error) = lines(chunks);
        assert_eq!(got, ["a"]);
        assert!(
            matches!(error, Some(MessageError::TooLong { max: 4, .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_line_that_the_client_s_end_cuts_short_is_no_line() {
    for chunks in [&[&b"a\nbc"[..]][..], &[b"a\nb", b"c"]] {
        let (got, error) = lines(chunks);
        assert_eq!(got, ["a"]);
        assert!(
            matches!(error, Some(MessageError::Incomplete { received: 2, .. })),
            "{error:?}"
        );
    }
}

#[test]
fn a_line_that_is_not_utf_8_is_an_error_and_the_next_one_is_read() {
    let (mut request, _) = MockStream::new().chunk(b"\xff\nb\n").into_request();
    let error = request.next_line(4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert_eq!(MessageError::find_in(&error), None);
    assert_eq!(request.next_line(4).unwrap().as_deref(), Some("b"));
}

#[test]
fn messages_end_at_any_delimiter_or_after_a_number_of_bytes() {
    let mock = MockStream::new().chunk(b"\xff\0\0ab").chunk(b"cdefgh");
    let (mut request, _) = mock.into_request();
    assert_eq!(request.next_until(0, 1).unwrap().unwrap(), b"\xff");
    assert_eq!(request.next_until(0, 0).unwrap().unwrap(), b"");
    assert_eq!(request.next_exact(4).unwrap().unwrap(), b"abcd");
    assert_eq!(request.next_exact(0).unwrap().unwrap(), b"");
    let error = request.next_exact(5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let (mut request, _) = MockStream::new().into_request();
    assert_eq!(request.next_exact(5).unwrap(), None);
}

#[test]
fn what_was_written_is_sent_before_the_wait_for_the_next_line() {
    let (mut request, recording) = MockStream::new().chunk("me\n").into_request();
    write!(request, "name? ").unwrap();
    assert_eq!(request.next_line(10).unwrap().as_deref(), Some("me"));
    assert_eq!(recording.written(), b"name? ");
}

#[test]
fn a_drain_ends_the_lines_between_two_of_them_and_lets_a_begun_one_come() {
    let mock = MockStream::new().chunk("one\n").drain().chunk("two\n");
    let (mut request, _) = mock.into_request();
    assert_eq!(request.next_line(10).unwrap().as_deref(), Some("one"));
    assert_eq!(request.next_line(10).unwrap(), None);
    let mock = MockStream::new().chunk("tw").drain().chunk("o\n");
    let (mut request, _) = mock.into_request();
    assert_eq!(request.next_line(10).unwrap().as_deref(), Some("two"));
    assert_eq!(request.next_line(10).unwrap(), None);
}

#[test]
fn an_idle_handler_of_lines_is_drained_at_once() {
    let factory = stream_handler(|request: &mut StreamRequest| {
        while let Some(line) = request.next_line(10)? {
            writeln!(request, "{line}!")?;
        }
        Ok(request.write_all(b"goodbye\n")?)
    });
    let layers = TcpServer::new("127.0.0.1:0", factory).mix_in(ThreadingMixIn::new);
    let running = RunningServer::start(layers.bind().unwrap());
    let mut client = StreamClient::connect(&running.address());
    client.send("hello\n");
    assert_eq!(client.line(), "hello!");
    let handle = running.handle();
    eventually("the handler is idle", || handle.statistics().idle == 1);
    let server = running.stop();
    assert_eq!(client.rest(), b"goodbye\n");
    assert_eq!(close(server).idle, 1);
}

#[test]
fn the_parts_of_a_message_are_read_one_by_one() {
    let message = b"4\r\na\n\0bXYa\0b\0\n";
    for cut in 1..message.len() {
        let (first, second) = message.split_at(cut);
        let (mut request, _) = MockStream::new().chunk(first).chunk(second).into_request();
        assert_eq!(request.next_line(1).unwrap().as_deref(), Some("4"));
        assert_eq!(request.further_exact(4).unwrap(), b"a\n\0b");
        assert_eq!(request.further_exact(0).unwrap(), b"");
        assert_eq!(request.further_exact(2).unwrap(), b"XY");
        assert_eq!(request.further_until(0, 1).unwrap(), b"a");
        assert_eq!(request.further_until(0, 1).unwrap(), b"b");
        assert_eq!(request.further_line(0).unwrap(), "");
        assert_eq!(request.next_line(1).unwrap(), None);
    }
}

#[test]
fn a_message_of_parts_that_is_cut_short_is_an_error_with_all_its_bytes() {
    for (rest, received) in [("", 2), ("ab", 4)] {
        let mock = MockStream::new().chunk("3\n").chunk(rest);
        let (mut request, _) = mock.into_request();
        assert_eq!(request.next_line(1).unwrap().as_deref(), Some("3"));
        let error = request.further_exact(3).unwrap_err();
        let expected = format!("after {received} bytes of it");
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert_eq!(request.next_line(1).unwrap_err().kind(), error.kind());
        assert_eq!(request.further_line(1).unwrap_err().kind(), error.kind());
    }
    // The next message is counted anew.
    let (mut request, _) = MockStream::new().chunk("1\na2\nab").into_request();
    for length in [1, 2] {
        request.next_line(1).unwrap();
        request.further_exact(length).unwrap();
    }
    let (mut request, _) = MockStream::new().chunk("12\n3").into_request();
    request.next_line(9).unwrap();
    let error = request.next_line(9).unwrap_err();
    assert!(
        error.to_string().ends_with("after 1 bytes of it"),
        "{error}"
    );
}

#[test]
fn a_part_that_is_too_long_is_the_end_of_reading() {
    let (mut request, _) = MockStream::new().chunk("1\nabc\nd\n").into_request();
    request.next_line(9).unwrap();
    let error = request.further_line(2).unwrap_err();
    let found = MessageError::find_in(&error);
    assert!(matches!(found, Some(MessageError::TooLong { max: 2, .. })));
    assert_eq!(request.next_line(9).unwrap_err().kind(), error.kind());
}

#[test]
fn a_drain_lets_the_further_parts_of_a_begun_message_come() {
    let mock = MockStream::new()
        .chunk("3\n")
        .drain()
        .chunk("abc")
        .chunk("4\n");
    let (mut request, _) = mock.into_request();
    assert_eq!(request.next_line(1).unwrap().as_deref(), Some("3"));
    assert_eq!(request.further_exact(3).unwrap(), b"abc");
    assert_eq!(request.next_line(1).unwrap(), None);
}

#[test]
fn the_read_deadline_is_that_of_all_parts_together() {
    let (reporter, mut reports) = reports();
    let factory = stream_handler(move |request: &mut StreamRequest| {
        request.next_line(1)?;
        let error = request.further_exact(3).unwrap_err();
        reporter.say(DeadlineExceeded::find_in(&error).ok_or(error)?);
        Ok(())
    });
    let server = TcpServer::bind("127.0.0.1:0", factory).unwrap();
    // Without this deadline, the handler would wait for the rest without end.
    let limit = Duration::from_millis(50);
    let deadlines = Deadlines::none().with_read(limit);
    server.handle().set_deadlines(deadlines);
    let running = RunningServer::start(server);
    let client = StreamClient::connect(&running.address());
    client.send("3\n");
    assert_eq!(
        reports.next_report(),
        DeadlineExceeded::Read(limit).to_string()
    );
    running.close();
}
