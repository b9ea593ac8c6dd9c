//! The time server: strftime formats of strangers.

use arbitrary::{Arbitrary, Unstructured};
use socketserver::mock::MockDatagram;
use socketserver_handlers::Time;

use crate::cuts::Cuts;

/// The most bytes of a format, and of an answer.
const LIMIT: usize = 1024;

/// A format and its end.
const LONGEST_LINE: usize = LIMIT + 2;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: [Cuts; 2],
    bytes: &'a [u8],
}

/// Checks that every datagram has one answer within the limit; that a text without directives is
/// its own answer; and that a stream has one answer for each line, the same as a datagram, however
/// the stream is cut.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    answer_to(input.bytes);
    a_text_without_directives_is_its_own_answer(&String::from_utf8_lossy(input.bytes));
    let answers = input.cuts.map(|cuts| input.answers(cuts));
    let formats = formats(input.bytes);
    assert_eq!(answers[0].len(), formats.len(), "{answers:?}");
    assert_eq!(answers[1].len(), formats.len(), "{answers:?}");
    for (format, [one, other]) in formats.iter().zip(pairs(&answers)) {
        are_alike(one, other);
        let by_datagram = answer_to(format);
        match by_datagram.contains('\n') {
            true => assert_eq!(one, "error: the time in this format has more than one line"),
            false => are_alike(one, &by_datagram),
        }
    }
}

impl Input<'_> {
    fn answers(&self, cuts: Cuts) -> Vec<String> {
        let recording = cuts.client(self.bytes).run(Time);
        assert!(recording.result().is_ok(), "{:?}", recording.result());
        let written = String::from_utf8(recording.written()).expect("an answer is UTF-8");
        assert!(written.is_empty() || written.ends_with('\n'));
        written.lines().map(str::to_owned).collect()
    }
}

fn pairs(answers: &[Vec<String>; 2]) -> impl Iterator<Item = [&String; 2]> {
    let [one, other] = answers;
    one.iter().zip(other).map(|(one, other)| [one, other])
}

/// The formats that a stream of these bytes has an answer for.
fn formats(bytes: &[u8]) -> Vec<&[u8]> {
    let mut formats = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = rest.len().min(LONGEST_LINE);
        let end = rest[..most].iter().position(|&byte| byte == b'\n');
        let (line, more) = rest.split_at(end.map_or(most, |end| end + 1));
        let format = match line.strip_suffix(b"\n") {
            Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
            None => line,
        };
        formats.push(format);
        if format.len() > LIMIT {
            break;
        }
        rest = more;
    }
    formats
}

fn answer_to(format: &[u8]) -> String {
    let recording = MockDatagram::new(format).run(Time);
    assert!(recording.result().is_ok(), "{:?}", recording.result());
    let sent = recording.sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].len() <= LIMIT, "{} bytes", sent[0].len());
    String::from_utf8(sent[0].clone()).expect("an answer is UTF-8")
}

/// Two answers to one format: the same error, or two times.
fn are_alike(one: &str, other: &str) {
    let is_error = |answer: &str| answer.starts_with("error: ");
    // A fraction of a second has more digits at one time than at another.
    let may_be_long = |answer: &str| answer.len() > LIMIT - 200 || answer.contains("longer than");
    if may_be_long(one) || may_be_long(other) {
        return;
    }
    assert_eq!(is_error(one), is_error(other), "{one:?} and {other:?}");
    if is_error(one) && one.contains("strftime") {
        assert_eq!(one, other);
    }
}

fn a_text_without_directives_is_its_own_answer(text: &str) {
    let format = text.replace('%', "%%");
    if !text.is_empty() && format.len() <= LIMIT {
        assert_eq!(answer_to(format.as_bytes()), text);
    }
}
