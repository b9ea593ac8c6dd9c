//! Several requests on a connection.

use std::io::ErrorKind;

use proptest::prelude::*;
use socketserver::mock::MockStream;
use socketserver_handlers::http::Http;

use crate::replies::Reply;
use crate::services::{Reflect, run};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_request_is_answered_and_the_connection_is_kept_for_the_next() {
    let recording = run(MockStream::new().chunk(GET).chunk(GET));
    recording.result().as_ref().unwrap();
    let replies = Reply::all(&recording.written(), &["GET", "GET"]);
    assert_eq!(replies.len(), 2);
    for reply in replies {
        assert_eq!((reply.status, reply.text()), (200, "GET / "));
        assert_eq!(reply.header("connection"), None);
        httpdate::parse_http_date(reply.header("date").unwrap()).unwrap();
    }
    assert!(recording.is_shut_down());
}

#[test]
fn pipelined_requests_are_answered_in_order_and_leave_together() {
    let client = MockStream::new().chunk(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    let recording = run(client);
    assert_eq!(recording.writes().len(), 1);
    let replies = Reply::all(&recording.written(), &["GET", "POST", "HEAD", "GET"]);
    let texts = Vec::from_iter(replies.iter().map(Reply::text));
    assert_eq!(texts, ["GET /1 ", "POST /2 abc", "", "GET /4 "]);
    assert_eq!(replies[1].status, 201);
    assert_eq!(replies[2].header("content-length"), Some("8"));
}

proptest! {
    #[test]
    fn however_a_conversation_is_cut_the_responses_are_the_same(
        lengths in prop::collection::vec(1_usize..60, 1..40),
        write_limit in 1_usize..3000,
    ) {
        let bytes = format!(
            "{GET}\r\nPUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789\
             PUT /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
             5;x=y\r\nhello\r\n00a\r\n0123456789\r\n0\r\nB: c\r\n\r\n\
             POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n\
             01234567890123456789{GET}"
        );
        let mut client = MockStream::new().write_limit(write_limit);
        let mut rest = bytes.as_bytes();
        for length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, more) = rest.split_at(rest.len().min(*length));
            client = client.chunk(piece);
            rest = more;
        }
        let recording = run(client);
        prop_assert!(recording.result().is_ok());
        let replies = Reply::all(&recording.written(), &["GET", "PUT", "PUT", "POST", "GET"]);
        let texts = Vec::from_iter(replies.iter().map(Reply::text));
        prop_assert_eq!(
            texts,
            ["GET / ", "PUT /1 0123456789", "PUT /2 hello0123456789 b=c", "unread", "GET / "]
        );
    }
}

#[test]
fn a_connection_is_closed_when_the_client_or_the_handler_wants_that() {
    for (request, closes) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            true,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
            true,
        ),
        ("GET /close HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("GET / HTTP/1.0\r\n\r\n", true),
        (
            "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            true,
        ),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n",
            false,
        ),
    ] {
        let recording = run(MockStream::new().chunk(request).chunk(GET));
        recording.result().as_ref().unwrap();
        let replies = Reply::all(&recording.written(), &["GET", "GET"]);
        assert_eq!(replies[0].closes(), closes, "{request}");
        assert_eq!(replies.len(), if closes { 1 } else { 2 }, "{request}");
    }
}

#[test]
fn a_client_of_http_1_0_learns_that_its_connection_is_kept() {
    let recording =
        run(MockStream::new().chunk("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    let reply = Reply::only(&recording.written());
    assert_eq!(reply.header("connection"), Some("keep-alive"));
}

#[test]
fn a_stopping_server_answers_the_request_that_it_has_and_closes() {
    let recording = run(MockStream::new().chunk(GET).drain().chunk(GET));
    recording.result().as_ref().unwrap();
    assert_eq!(Reply::only(&recording.written()).status, 200);
}

#[test]
fn a_client_that_leaves_between_two_requests_leaves_in_good_order() {
    for client in [MockStream::new(), MockStream::new().chunk(GET)] {
        let recording = run(client);
        recording.result().as_ref().unwrap();
        assert!(recording.is_shut_down());
    }
}

#[test]
fn a_failing_handler_is_reported_and_its_client_gets_500() {
    let recording = run(MockStream::new()
        .chunk("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n")
        .chunk(GET));
    let error = recording.result().as_ref().unwrap_err();
    assert_eq!(error.to_string(), "this service fails");
    let reply = Reply::only(&recording.written());
    assert_eq!((reply.status, reply.closes()), (500, true));
    assert!(!reply.text().contains("this service fails"));
}

#[test]
fn a_panicking_handler_is_reported_and_its_client_gets_500() {
    let client = MockStream::new().chunk("GET /panics HTTP/1.1\r\nHost: a\r\n\r\n");
    let recording = run(client);
    assert!(recording.result().is_err());
    assert_eq!(Reply::only(&recording.written()).status, 500);
}

#[test]
fn each_response_is_logged_with_its_status_and_its_bytes() {
    let service = Reflect::default();
    let client = MockStream::new().chunk(
        "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\n\r\nBAD\x01 / HTTP/1.1\r\n\r\n",
    );
    client.run(Http::new(service.clone()));
    let log = service.log.lock().unwrap().clone();
    assert_eq!(log[..3], [(204, 0), (200, 0), (200, 6)]);
    assert_eq!(log[3].0, 400);
    let lines = service.lines.lock().unwrap().clone();
    assert_eq!(lines[2..], ["GET / HTTP/1.1", "BAD\\x01 / HTTP/1.1"]);
}

#[test]
fn a_reset_is_the_error_of_the_connection() {
    for begin in [
        "GET / HT",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na",
    ] {
        let client = MockStream::new().chunk(begin);
        let recording = run(client.read_error(ErrorKind::ConnectionReset));
        let error = recording.result().as_ref().unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{begin}");
    }
}
