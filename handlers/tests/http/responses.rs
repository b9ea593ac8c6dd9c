//! The forms of responses.

use std::fs::File;
use std::io::Write;

use socketserver::mock::{MockStream, StreamRecording};
use socketserver_handlers::http::{Http, HttpResult, Response, ResponseBody, respond_fn};

use crate::replies::Reply;
use crate::services::{all_numbers, run};

fn get(path: &str, version: &str) -> String {
    format!("GET {path} HTTP/{version}\r\nHost: a\r\n\r\n")
}

fn answer(request: &str, respond: impl Fn() -> HttpResult + Send) -> StreamRecording {
    let handler = Http::new(respond_fn(move |_| respond()));
    MockStream::new().chunk(request).run(handler)
}

#[test]
fn a_body_that_is_written_is_sent_in_chunks_or_until_the_end() {
    let recording = run(MockStream::new().chunk(get("/writer", "1.1")));
    let reply = Reply::only(&recording.written());
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert_eq!(reply.header("content-length"), None);
    assert_eq!(reply.body, all_numbers());

    let kept = "GET /writer HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    for request in [get("/writer", "1.0").as_str(), kept] {
        let reply = Reply::only(&run(MockStream::new().chunk(request)).written());
        assert_eq!(reply.header("transfer-encoding"), None);
        assert!(reply.closes());
        assert_eq!(reply.body, all_numbers());
    }
}

#[test]
fn what_a_writer_flushes_leaves_at_once() {
    let respond = || {
        Ok(Response::new(ResponseBody::writer(|out| {
            for event in ["one", "two"] {
                out.write_all(event.as_bytes())?;
                out.flush()?;
            }
            Ok(())
        })))
    };
    let writes = answer(&get("/", "1.1"), respond).writes();
    assert!(writes[0].ends_with(b"\r\n\r\n3\r\none\r\n"));
    assert_eq!(writes[1], b"3\r\ntwo\r\n");
    assert_eq!(writes[2], b"0\r\n\r\n");
}

#[test]
fn a_head_request_gets_the_headers_of_a_get_and_no_body() {
    for path in ["/", "/writer", "/nothing", "/missing", "/close"] {
        let request = get(path, "1.1");
        let of_get = Reply::only(&run(MockStream::new().chunk(&request)).written());
        let head = request.replacen("GET", "HEAD", 1);
        let written = run(MockStream::new().chunk(&head)).written();
        let [of_head] = <[Reply; 1]>::try_from(Reply::all(&written, &["HEAD"])).unwrap();
        assert_eq!(of_head.status, of_get.status);
        let names = |reply: &Reply| Vec::from_iter(reply.headers.iter().map(|(it, _)| it.clone()));
        assert_eq!(names(&of_head), names(&of_get), "{path}");
    }
}

#[test]
fn a_head_request_on_a_kept_connection_leaves_the_next_request_in_place() {
    let head = get("/writer", "1.0").replacen("GET", "HEAD", 1);
    let head = head.replacen("Host: a", "Connection: keep-alive", 1);
    let written = run(MockStream::new().chunk(head).chunk(get("/", "1.1"))).written();
    assert_eq!(Reply::all(&written, &["HEAD", "GET"]).len(), 2);
}

#[test]
fn a_response_without_a_body_has_no_length() {
    for status in [204, 304] {
        let respond = move || Ok(Response::builder().status(status).body("lost".into())?);
        let recording = answer(&get("/", "1.1"), respond);
        recording.result().as_ref().unwrap();
        let reply = Reply::only(&recording.written());
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("content-length"), None);
    }
}

#[test]
fn a_file_is_sent_from_its_beginning_or_in_part() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    let copy = || file.try_clone().unwrap();
    let whole = || Ok(Response::new(ResponseBody::file(copy())?));
    let reply = Reply::only(&answer(&get("/", "1.1"), whole).written());
    assert_eq!(reply.text(), "0123456789");
    let part = || Ok(Response::new(ResponseBody::part_of_file(copy(), 3, 4)));
    let reply = Reply::only(&answer(&get("/", "1.1"), part).written());
    assert_eq!(reply.text(), "3456");
}

#[test]
fn a_body_that_breaks_off_ends_the_connection_and_is_reported() {
    let file = || File::open("/dev/null").unwrap();
    let short = || Ok(Response::new(ResponseBody::part_of_file(file(), 0, 4)));
    assert!(answer(&get("/", "1.1"), short).result().is_err());
    let recording = run(MockStream::new().chunk(get("/writer-fails", "1.1").repeat(2)));
    assert!(recording.result().is_err());
    let written = recording.written();
    assert!(
        !written.ends_with(b"0\r\n\r\n"),
        "{}",
        written.escape_ascii()
    );
    assert_eq!(
        written.windows(8).filter(|it| *it == b"HTTP/1.1").count(),
        1
    );
}

#[test]
fn an_announced_length_is_kept_by_a_writer() {
    for (length, is_right) in [(2, false), (3, true), (4, false)] {
        let respond = move || {
            let response = Response::builder().header("Content-Length", length);
            Ok(response.body(ResponseBody::writer(|out| out.write_all(b"abc")))?)
        };
        let recording = answer(&get("/", "1.1"), respond);
        assert_eq!(recording.result().is_ok(), is_right, "{length}");
        if is_right {
            assert_eq!(Reply::only(&recording.written()).text(), "abc");
        }
    }
}

#[test]
fn headers_that_frame_the_body_are_the_server_s_own() {
    let respond = || {
        let response = Response::builder()
            .header("Content-Length", "7")
            .header("Transfer-Encoding", "chunked")
            .header("Connection", "keep-alive");
        Ok(response.body("abc".into())?)
    };
    let reply = Reply::only(&answer(&get("/", "1.1"), respond).written());
    assert_eq!(reply.text(), "abc");
    assert_eq!(reply.header("transfer-encoding"), None);
}

#[test]
fn a_response_that_cannot_be_sent_is_a_failure_of_the_handler() {
    for status in [100, 101, 199] {
        let respond = move || Ok(Response::builder().status(status).body("".into())?);
        let recording = answer(&get("/", "1.1"), respond);
        assert!(recording.result().is_err(), "{status}");
        assert_eq!(Reply::only(&recording.written()).status, 500, "{status}");
    }
    let respond = || {
        Ok(Response::builder()
            .header("Content-Length", "x")
            .body("".into())?)
    };
    assert_eq!(
        Reply::only(&answer(&get("/", "1.1"), respond).written()).status,
        500
    );
}

#[test]
fn headers_with_several_values_are_sent_in_their_order() {
    let respond = || {
        let response = Response::builder()
            .header("Set-Cookie", "a")
            .header("Set-Cookie", "b");
        Ok(response.header("Date", "mine").body("".into())?)
    };
    let reply = Reply::only(&answer(&get("/", "1.1"), respond).written());
    let cookies = reply
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    assert_eq!(
        Vec::from_iter(cookies.map(|(_, it)| it.as_str())),
        ["a", "b"]
    );
    assert_eq!(reply.header("date"), Some("mine"));
}
