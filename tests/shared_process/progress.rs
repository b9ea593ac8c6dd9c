//! The deadline of a client that does not move a byte, over a mock: which bound an error names.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::time::Duration;

use socketserver::mock::MockStream;
use socketserver::{DeadlineExceeded, Deadlines, StreamRequest};

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(600);

fn progress() -> Deadlines {
    Deadlines::none().with_progress(SHORT)
}

/// The error of a client that is silent after the beginning of its message.
fn silent_in_the_middle(set: impl FnOnce(&mut StreamRequest)) -> io::Error {
    let (mut request, _) = MockStream::new().chunk("begin").timeout().into_request();
    set(&mut request);
    assert!(request.wait().unwrap());
    let error = request.read_until(b'\n', &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    error
}

/// The error of a client that takes four bytes of its answer.
fn takes_no_more(set: impl FnOnce(&mut StreamRequest)) -> io::Error {
    let client = MockStream::new().write_error_after(4, ErrorKind::TimedOut);
    let (mut request, _) = client.into_request();
    set(&mut request);
    request.write_all(b"an answer").unwrap();
    let error = request.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    error
}

#[test]
fn a_client_that_moves_no_byte_has_missed_the_progress_deadline() {
    let expected = DeadlineExceeded::Progress(SHORT);
    let error = silent_in_the_middle(|it| it.set_deadlines(progress()));
    assert_eq!(DeadlineExceeded::find_in(&error), Some(expected));
    assert_eq!(error.to_string(), expected.to_string());
    let error = takes_no_more(|it| it.set_deadlines(progress()));
    assert_eq!(DeadlineExceeded::find_in(&error), Some(expected));
    let text = format!("{expected}; 4 bytes of the answer had been sent");
    assert_eq!(error.to_string(), text);
}

#[test]
fn the_error_of_an_answer_that_is_late_as_a_whole_has_the_number_of_bytes_that_were_sent() {
    let error = takes_no_more(|it| it.set_deadlines(Deadlines::none().with_write(SHORT)));
    assert_eq!(
        error.to_string(),
        "the client did not take its whole answer within 10s (write deadline); 4 bytes of the \
         answer had been sent"
    );
}

#[test]
fn the_bound_that_is_over_first_is_the_one_that_the_error_names() {
    for (whole, expected) in [
        (LONG, DeadlineExceeded::Progress(SHORT)),
        (SHORT / 2, DeadlineExceeded::Write(SHORT / 2)),
    ] {
        let error = takes_no_more(|it| it.set_deadlines(progress().with_write(whole)));
        assert_eq!(DeadlineExceeded::find_in(&error), Some(expected));
    }
    for (whole, expected) in [
        (LONG, DeadlineExceeded::Progress(SHORT)),
        (SHORT / 2, DeadlineExceeded::Read(SHORT / 2)),
    ] {
        let error = silent_in_the_middle(|it| it.set_deadlines(progress().with_read(whole)));
        assert_eq!(DeadlineExceeded::find_in(&error), Some(expected));
    }
}

#[test]
fn the_sooner_of_the_timeout_and_the_progress_deadline_is_kept() {
    for (timeout, is_own) in [(SHORT / 2, true), (LONG, false)] {
        let set = |it: &mut StreamRequest| {
            it.set_deadlines(progress());
            it.set_timeout(Some(timeout)).unwrap();
        };
        for error in [silent_in_the_middle(set), takes_no_more(set)] {
            let found = DeadlineExceeded::find_in(&error);
            assert_eq!(found.is_none(), is_own, "{error}");
        }
    }
}

#[test]
fn a_client_that_is_silent_between_two_messages_does_not_miss_the_progress_deadline() {
    let client = MockStream::new().chunk("one\n").timeout();
    let (mut request, _) = client.into_request();
    request.set_deadlines(progress().with_idle(LONG));
    assert_eq!(request.next_line(10).unwrap().as_deref(), Some("one"));
    let error = request.next_line(10).unwrap_err();
    let expected = DeadlineExceeded::Idle(LONG);
    assert_eq!(DeadlineExceeded::find_in(&error), Some(expected));
}

#[test]
fn a_progress_deadline_of_zero_and_one_without_end_are_kept_too() {
    for limit in [Duration::ZERO, Duration::MAX] {
        let (mut request, recording) = MockStream::new().chunk("a\nb").chunk("c\n").into_request();
        request.set_deadlines(Deadlines::none().with_progress(limit));
        let mut all = String::new();
        request.read_to_string(&mut all).unwrap();
        request.write_all(all.as_bytes()).unwrap();
        request.flush().unwrap();
        assert_eq!(recording.written(), b"a\nbc\n");
    }
}
