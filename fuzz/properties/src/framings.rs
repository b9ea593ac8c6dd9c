//! The framings: frames, JSON headers and bodies.

use std::io::{self, Read};

use arbitrary::{Arbitrary, Unstructured};
use serde::{Deserialize, Serialize};
use serde_json::de::from_slice;
use socketserver_handlers::framing::{Body, FramingError, LengthPrefix};

use crate::cuts::Cuts;
use crate::metered::Metered;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    big_endian: bool,
    max_length: u16,
    cuts: Cuts,
    messages: Vec<&'a [u8]>,
    stream: &'a [u8],
}

/// How a stream of frames ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Clean,
    Negative(i32),
    TooLong(u64),
    Truncated(&'static str, u64, u64),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    data_size: u64,
}

/// Checks that any bytes are frames and at most one error, however they are cut; that messages come
/// back as they were written; and that a JSON header is an object, and is followed by its body.
pub fn check(bytes: &[u8]) {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return;
    };
    input.frames_are_those_of_the_model();
    input.messages_come_back();
    input.a_header_is_an_object_before_its_body();
}

impl Input<'_> {
    fn prefix(&self) -> LengthPrefix {
        let prefix = match self.big_endian {
            true => LengthPrefix::big_endian(),
            false => LengthPrefix::little_endian(),
        };
        prefix.max_length(self.max_length.into())
    }

    fn frames_are_those_of_the_model(&self) {
        let expected = self.model();
        let prefix = self.prefix();
        assert_eq!(frames(prefix, &mut Metered::new(self.stream)), expected);
        let (request, _) = self.cuts.client(self.stream).into_request();
        assert_eq!(frames(prefix, &mut Metered::new(request)), expected);
    }

    /// The frames in the stream, and how the stream ends, by other code.
    fn model(&self) -> (Vec<Vec<u8>>, End) {
        let mut frames = Vec::new();
        let mut rest = self.stream;
        let end = loop {
            let Some((length, behind)) = rest.split_first_chunk() else {
                break match rest.len() {
                    0 => End::Clean,
                    count => End::Truncated("length", count as u64, 4),
                };
            };
            let length = match self.big_endian {
                true => i32::from_be_bytes(*length),
                false => i32::from_le_bytes(*length),
            };
            match usize::try_from(length) {
                Err(_) => break End::Negative(length),
                Ok(length) if length > self.max_length.into() => {
                    break End::TooLong(length as u64);
                }
                Ok(length) if length > behind.len() => {
                    break End::Truncated("frame", behind.len() as u64, length as u64);
                }
                Ok(length) => {
                    frames.push(behind[..length].to_owned());
                    rest = &behind[length..];
                }
            }
        };
        (frames, end)
    }

    fn messages_come_back(&self) {
        let prefix = self.prefix();
        let mut stream = Vec::new();
        let mut written = Vec::new();
        for message in &self.messages {
            let before = stream.len();
            match prefix.write_frame(&mut stream, message) {
                Ok(()) => written.push(message.to_vec()),
                Err(error) => {
                    assert!(matches!(error, FramingError::TooLong { .. }), "{error}");
                    assert!(message.len() > self.max_length.into(), "{error}");
                    assert_eq!(stream.len(), before, "a part of the message was written");
                }
            }
        }
        let (mut request, _) = self.cuts.client(&stream).into_request();
        assert_eq!(frames(prefix, &mut request), (written, End::Clean));
    }

    fn a_header_is_an_object_before_its_body(&self) {
        let prefix = self.prefix().max_length(u32::MAX);
        let body = self.messages.first().copied().unwrap_or_default();
        let mut stream = Vec::new();
        prefix
            .write_frame(&mut stream, self.stream)
            .expect("no frame is too long");
        stream.extend(body);
        let (request, _) = self.cuts.client(&stream).into_request();
        let mut reader = Metered::new(request);
        let is_object = self.stream.trim_ascii_start().starts_with(b"{");
        let is_json = from_slice::<serde::de::IgnoredAny>(self.stream).is_ok();
        match prefix.read_json_header::<Header>(&mut reader) {
            Ok(header) => {
                assert!(is_object && is_json);
                let header = header.expect("the stream has a header");
                comes_back(prefix, &header);
                let mut read = Vec::new();
                let length = header.data_size;
                let result = Body::new(&mut reader, length).read_to_end(&mut read);
                assert_eq!(result.is_ok(), length <= body.len() as u64);
                let expected = usize::try_from(length)
                    .unwrap_or(usize::MAX)
                    .min(body.len());
                assert_eq!(read, body[..expected]);
            }
            Err(error) => {
                assert!(!is_valid_header(self.stream), "{error}");
                match error {
                    FramingError::NotUtf8(_) => assert!(str::from_utf8(self.stream).is_err()),
                    FramingError::NotJson(_) => assert!(!is_json),
                    FramingError::NotAnObject => assert!(is_json && !is_object),
                    FramingError::WrongFields(_) => assert!(is_object),
                    _ => panic!("{error}"),
                }
                is_fit_to_be_shown(&error);
            }
        }
    }
}

/// Whether the text is what programs write: an object with a size and nothing else.
fn is_valid_header(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else {
        return false;
    };
    let number = text
        .strip_prefix("{\"data_size\":")
        .and_then(|it| it.strip_suffix('}'));
    let is_plain = |it: &&str| *it == "0" || !it.starts_with(['0', '+']);
    number
        .filter(is_plain)
        .is_some_and(|it| it.parse::<u64>().is_ok())
}

fn comes_back(prefix: LengthPrefix, header: &Header) {
    let mut written = Vec::new();
    prefix
        .write_json_header(&mut written, header)
        .expect("a header is short");
    let read = prefix.read_json_header::<Header>(&mut written.as_slice());
    assert_eq!(read.expect("a header was written").as_ref(), Some(header));
}

/// The frames that are read, and how the reading ends.
fn frames(prefix: LengthPrefix, reader: &mut impl Read) -> (Vec<Vec<u8>>, End) {
    let mut frames = Vec::new();
    let end = loop {
        match prefix.read_frame(reader) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break End::Clean,
            Err(error) => {
                is_fit_to_be_shown(&error);
                break match error {
                    FramingError::NegativeLength(length) => End::Negative(length),
                    FramingError::TooLong { length, .. } => End::TooLong(length),
                    FramingError::Truncated {
                        part,
                        received,
                        announced,
                    } => End::Truncated(part, received, announced),
                    other => panic!("{other}"),
                };
            }
        }
    };
    if end == End::Clean {
        let more = io::copy(reader, &mut io::sink()).expect("the end of file stays");
        assert_eq!(more, 0);
    }
    (frames, end)
}

/// An error may quote what a stranger has sent: in one line, and not without bounds.
pub fn is_fit_to_be_shown(error: &dyn std::error::Error) {
    let text = error.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 3000, "{text:?}");
}
