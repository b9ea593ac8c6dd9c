//! Requests for the metrics, and bytes that are none.

use arbitrary::{Arbitrary, Unstructured};
use socketserver::mock::MockStream;
use socketserver::{HandlerFactory, Metrics};

use crate::cuts::Cuts;

/// The most fields of a head that the other reading takes.
const MAX_FIELDS: usize = 64;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    stream: &'a [u8],
}

/// Checks that any bytes have one whole answer or none, however they are cut; and that what is a
/// request for the metrics by another reading is answered with them.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    let whole = status(input.stream, MockStream::new().chunk(input.stream));
    let cut = status(input.stream, input.cuts.client(input.stream));
    assert_eq!(whole, cut);
    if asks_for_metrics(input.stream) {
        assert_eq!(whole, Some(200));
    }
}

/// The status of the answer, which is whole; `None` if there is no answer.
fn status(stream: &[u8], client: MockStream) -> Option<u16> {
    let written = client.run(Metrics::new().make_handler()).written();
    if written.is_empty() {
        return None;
    }
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut fields);
    let parsed = answer.parse(&written).expect("the answer has a head");
    let httparse::Status::Complete(head) = parsed else {
        panic!("the head of the answer is not whole");
    };
    let status = answer.code.expect("a whole head has a status");
    let mut lengths = answer
        .headers
        .iter()
        .filter(|it| it.name == "Content-Length");
    let length = lengths.next().expect("the answer has a length").value;
    let length: usize = std::str::from_utf8(length)
        .ok()
        .and_then(|it| it.parse().ok())
        .expect("a length is a number");
    let body = &written[head..];
    if stream.starts_with(b"HEAD ") && body.is_empty() {
        return Some(status);
    }
    assert_eq!(body.len(), length);
    match status {
        200 => assert!(body.ends_with(b"\n")),
        400 | 404 | 405 | 431 => assert!(body.starts_with(status.to_string().as_bytes())),
        other => panic!("status {other}"),
    }
    Some(status)
}

/// Whether another parser finds a request for the metrics, within the bound of a head.
fn asks_for_metrics(stream: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    // Empty lines before a request are none of ours.
    let begins = stream.first().is_some_and(u8::is_ascii_alphabetic);
    let parsed = request.parse(stream);
    let is_short = matches!(parsed, Ok(httparse::Status::Complete(head)) if begins && head <= 8192);
    is_short && request.method == Some("GET") && request.path == Some("/metrics")
}
