//! Which heads are accepted, and with which status the others are refused.

use socketserver::mock::MockStream;
use socketserver_handlers::http::HttpLimits;

use crate::replies::Reply;
use crate::services::{run, run_within};

/// The status for a client that sends `bytes`, and whether the connection is closed.
fn status(bytes: impl AsRef<[u8]>) -> u16 {
    let recording = run(MockStream::new().chunk(&bytes));
    recording.result().as_ref().unwrap();
    let reply = Reply::only(&recording.written());
    let is_refused = reply.status >= 400;
    assert!(!is_refused || reply.closes());
    reply.status
}

#[test]
fn usual_heads_are_accepted() {
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:a\r\nEmpty:\r\nX:  y \t\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET /?a=b HTTP/1.1\r\nhOST: a:80\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "X-OWN / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\u{e9} HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
        "GET //a//b HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(status(head), 200, "{head:?}");
    }
}

#[test]
fn what_two_readers_could_understand_in_two_ways_is_refused() {
    for lines in [
        // Two lengths, equal or not, in one line or two.
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length: 0\r\nContent-Length: 5",
        "Content-Length: 0, 0",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        // Lengths that are no numbers.
        "Content-Length: +0",
        "Content-Length: -0",
        "Content-Length: 0x0",
        "Content-Length: 0 0",
        "Content-Length:",
        "Content-Length: 99999999999999999999",
        "Content-Length: \u{0660}",
        // Codings that are not the one.
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: \u{b}chunked",
        // Spaces before a colon, folded lines and names that are no tokens.
        "Content-Length : 0",
        "Content-Length\t: 0",
        " X: y",
        "X: y\r\n z",
        "X: y\r\n\tz",
        ": x",
        "no colon",
        "X y: z",
        "X\0: y",
        "X: y\0",
        "X: y\u{7f}",
        // Line ends.
        "X: y\nZ: z",
        "X: y\rZ: z",
        "X: y\r\r\nZ: z",
        "X: y\n\r\nZ: z",
        // Hosts.
        "Host: a",
        "Host: b",
    ] {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        assert_eq!(status(&head), 400, "{lines:?}");
        let first = format!("GET / HTTP/1.1\r\n{lines}\r\nHost: a\r\n\r\n");
        assert_eq!(status(&first), 400, "{lines:?} first");
    }
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(status(head), 400, "{head:?}");
    }
    let head = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
    assert_eq!(status(head), 501);
}

#[test]
fn odd_request_lines_are_refused() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.1x",
        "GET / HTTP/11",
        "GET / HTTP/1.",
        "GET / XTTP/1.1",
        "GET /",
        "GET",
        "GET HTTP/1.1",
        "GET / / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /#a HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\u{b} HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT a HTTP/1.1",
        "CONNECT http://a/ HTTP/1.1",
        "POST * HTTP/1.1",
        "\u{16}\u{3}\u{1}",
        "",
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(status(&head), 400, "{line:?}");
    }
    for head in [
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(status(head), 400, "{head:?}");
    }
}

#[test]
fn another_version_of_http_is_refused_as_such() {
    for head in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(status(head), 505, "{head:?}");
    }
}

#[test]
fn options_of_the_whole_server_have_a_target_of_their_own() {
    let recording = run(MockStream::new().chunk("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(Reply::only(&recording.written()).text(), "OPTIONS * ");
}

#[test]
fn an_expectation_that_nobody_knows_is_refused() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n";
    assert_eq!(status(head), 417);
}

#[test]
fn a_refused_request_is_the_last_of_its_connection() {
    let client = MockStream::new().chunk("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = Reply::only(&run(client).written());
    assert_eq!(reply.status, 400);
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(
        reply.text().starts_with("400 Bad Request\n"),
        "{}",
        reply.text()
    );
}

#[test]
fn an_incomplete_head_is_refused() {
    for head in [
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "\r\n",
    ] {
        assert_eq!(status(head), 400, "{head:?}");
    }
}

#[test]
fn heads_beyond_the_limits_are_refused_however_they_come() {
    let limits = HttpLimits::default()
        .with_head(200)
        .with_target(50)
        .with_headers(3);
    let long = "a".repeat(300);
    for (head, expected) in [
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n".to_owned(),
            200,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\n\r\n".to_owned(),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n"),
            431,
        ),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\n{long}: a\r\n\r\n"),
            431,
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nA: {long}"), 431),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..49]),
            200,
        ),
        (
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..50]),
            414,
        ),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET /{long}"), 414),
        ("\r\n".repeat(150), 414),
    ] {
        let recording = run_within(limits, &head);
        assert_eq!(Reply::only(&recording.written()).status, expected, "{head}");
        let client = head
            .as_bytes()
            .chunks(7)
            .fold(MockStream::new(), MockStream::chunk);
        let service = crate::services::Reflect::default();
        let handler = socketserver_handlers::http::Http::new(service).limits(limits);
        let recording = client.run(handler);
        assert_eq!(
            Reply::only(&recording.written()).status,
            expected,
            "{head} in pieces"
        );
    }
}

#[test]
fn the_reason_of_a_refusal_does_not_depend_on_how_much_has_arrived() {
    for head in [
        " GET / HTTP/1.1\r\n\r\n",
        "\0\r\n\r\n",
        "\r\n\u{e9} / HTTP/1.1\r\n\r\n",
    ] {
        let whole = run(MockStream::new().chunk(head));
        let whole = Reply::only(&whole.written());
        assert_eq!(whole.status, 400, "{head:?}");
        for cut in 1..head.len() {
            let (begin, rest) = head.as_bytes().split_at(cut);
            let cut = run(MockStream::new().chunk(begin).chunk(rest));
            assert_eq!(Reply::only(&cut.written()).body, whole.body, "{head:?}");
        }
    }
}
