//! The bodies of requests.

use socketserver::mock::MockStream;
use socketserver_handlers::http::HttpLimits;

use crate::replies::Reply;
use crate::services::{run, run_within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn chunked(body: &str) -> String {
    format!("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n{body}")
}

fn replies(bytes: &str) -> Vec<Reply> {
    let recording = run(MockStream::new().chunk(bytes));
    recording.result().as_ref().unwrap();
    Reply::all(&recording.written(), &["PUT", "GET"])
}

#[test]
fn chunks_are_put_together_and_the_next_request_follows() {
    for (body, expected) in [
        ("0\r\n\r\n", ""),
        ("3\r\nabc\r\n0\r\n\r\n", "abc"),
        ("A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", "0123456789x"),
        ("3;a=b\r\nabc\r\n0;c\r\n\r\n", "abc"),
        ("3 ;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ("0000000000000003\r\n\r\n\r\r\n0\r\n\r\n", "\r\n\r"),
        ("3\r\nabc\r\n0\r\nX: y\r\nZ: z\r\n\r\n", "abc x=y z=z"),
    ] {
        let replies = replies(&format!("{}{GET}", chunked(body)));
        assert_eq!(replies[0].text(), format!("PUT / {expected}"), "{body:?}");
        assert_eq!(replies[1].text(), "GET / ", "{body:?}");
    }
}

#[test]
fn chunks_that_are_not_valid_are_refused_and_nothing_follows() {
    let long = "a".repeat(2000);
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\na\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n",
        "1 a\r\na\r\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\r\na\r\n0\r\n\r\n",
        "1;a\rb\r\na\r\n0\r\n\r\n",
        "1;a\0\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "10000000000000000\r\na\r\n0\r\n\r\n",
        "00000000000000001\r\na\r\n0\r\n\r\n",
        "1,1\r\na\r\n0\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        &format!("1;{long}\r\na\r\n0\r\n\r\n"),
        "1\r\na",
        "1\r\na\r\n0\r\n",
        "1",
    ] {
        let replies = replies(&chunked(body));
        assert_eq!(replies.len(), 1, "{body:?}");
        assert_eq!(
            (replies[0].status, replies[0].closes()),
            (400, true),
            "{body:?}"
        );
    }
    let followed = replies(&format!("{}{GET}", chunked("1\r\nab\r\n0\r\n\r\n")));
    assert_eq!(followed.len(), 1);
}

#[test]
fn chunks_beyond_the_largest_number_are_too_large() {
    for first in ["ffffffffffffffff", "8000000000000000"] {
        let replies = replies(&chunked(&format!("1\r\na\r\n{first}\r\n")));
        assert_eq!(replies[0].status, 413, "{first}");
    }
}

#[test]
fn extensions_of_all_chunks_together_are_bounded() {
    let chunk = format!("1;{}\r\na\r\n", "x".repeat(900));
    assert_eq!(
        replies(&chunked(&format!("{}0\r\n\r\n", chunk.repeat(10))))[0].status,
        200
    );
    assert_eq!(
        replies(&chunked(&format!("{}0\r\n\r\n", chunk.repeat(30))))[0].status,
        400
    );
}

#[test]
fn a_body_beyond_the_limit_is_refused_with_413() {
    let limits = HttpLimits::default().with_body(5);
    for (request, expected) in [
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n01234",
            200,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n",
            413,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n",
            413,
        ),
        (&chunked("5\r\n01234\r\n0\r\n\r\n"), 200),
        (&chunked("3\r\n012\r\n3\r\n"), 413),
        (&chunked("6\r\n"), 413),
    ] {
        let recording = run_within(limits, request);
        recording.result().as_ref().unwrap();
        assert_eq!(
            Reply::only(&recording.written()).status,
            expected,
            "{request:?}"
        );
    }
    let all = HttpLimits::default().without_body_limit();
    let long = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n";
    assert_eq!(Reply::only(&run_within(all, long).written()).status, 400);
}

#[test]
fn an_incomplete_body_is_refused() {
    let request = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n0123";
    assert_eq!(replies(request)[0].status, 400);
}

#[test]
fn a_client_that_waits_for_permission_gets_that_before_the_body_is_read() {
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    let recording = run(MockStream::new().chunk(head).chunk("ab").chunk(GET));
    recording.result().as_ref().unwrap();
    let writes = recording.writes();
    assert_eq!(writes[0], b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(Reply::only(&writes[1]).text(), "PUT / ab");
    assert_eq!(Reply::only(&writes[2]).text(), "GET / ");
}

#[test]
fn permission_is_needless_when_the_body_is_there_and_for_a_client_of_http_1_0() {
    for head in [
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
        "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    ] {
        assert_eq!(replies(head)[0].status, 200, "{head:?}");
    }
}

#[test]
fn a_client_without_permission_to_send_gets_a_response_and_the_end() {
    let head =
        "PUT /unread HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    let recording = run(MockStream::new().chunk(head).chunk("ab").chunk(GET));
    let reply = Reply::only(&recording.written());
    assert_eq!((reply.text(), reply.closes()), ("unread", true));
}

#[test]
fn an_unread_body_is_discarded_within_a_bound() {
    let put = |length: usize| {
        format!("PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
    };
    let body = "x".repeat(200_000);
    for (length, kept) in [(1, true), (60_000, true), (100_000, false)] {
        let bytes = format!("{}{}{GET}", put(length), &body[..length]);
        let replies = replies(&bytes);
        assert_eq!(replies.len(), if kept { 2 } else { 1 }, "{length}");
        assert_eq!(replies[0].closes(), !kept, "{length}");
    }
    for (count, kept) in [(1, true), (50, true), (150, false)] {
        let chunks = format!("3e8\r\n{}\r\n", &body[..1000]).repeat(count);
        let bytes = chunked(&format!("{chunks}0\r\n\r\n")).replacen("PUT /", "PUT /unread", 1);
        let replies = replies(&format!("{bytes}{GET}"));
        assert_eq!(replies.len(), if kept { 2 } else { 1 }, "{count}");
    }
}

#[test]
fn a_request_hidden_in_an_unread_body_is_not_served() {
    let hidden = GET.len();
    let bytes = format!("PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {hidden}\r\n\r\n{GET}");
    assert_eq!(replies(&bytes).len(), 1);
}
