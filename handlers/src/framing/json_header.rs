//! A JSON object behind its length.

use std::io::{Read, Write};

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use crate::framing::error::FramingError;
use crate::framing::length_prefix::LengthPrefix;

/// # A JSON header
///
/// The data that a header describes follows on the stream: see [`Body`](crate::framing::Body).
impl LengthPrefix {
    /// Reads a length, and a JSON object of that many bytes in utf-8. Returns `None` if the stream
    /// ends before the first byte of the length.
    ///
    /// Fields that `T` does not name are ignored, unless `T` has `#[serde(deny_unknown_fields)]`.
    /// With an unsigned type for a length, a negative number is
    /// [`WrongFields`](FramingError::WrongFields).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read_length`](Self::read_length);
    /// [`Truncated`](FramingError::Truncated), [`NotUtf8`](FramingError::NotUtf8),
    /// [`NotJson`](FramingError::NotJson), [`NotAnObject`](FramingError::NotAnObject) and
    /// [`WrongFields`](FramingError::WrongFields).
    pub fn read_json_header<T: DeserializeOwned>(
        &self,
        reader: &mut impl Read,
    ) -> Result<Option<T>, FramingError> {
        match self.read_part("header", reader)? {
            Some(bytes) => parse(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// Writes the length of `header` as JSON, and the JSON object, in one write.
    ///
    /// # Errors
    ///
    /// [`Unserializable`](FramingError::Unserializable), [`NotAnObject`](FramingError::NotAnObject)
    /// and [`TooLong`](FramingError::TooLong), all before the first byte is written;
    /// [`Io`](FramingError::Io).
    pub fn write_json_header<T: Serialize + ?Sized>(
        &self,
        writer: &mut impl Write,
        header: &T,
    ) -> Result<(), FramingError> {
        let header = serde_json::to_vec(header).map_err(FramingError::Unserializable)?;
        if !header.starts_with(b"{") {
            return Err(FramingError::NotAnObject);
        }
        let length = self.encode(header.len())?;
        Ok(writer.write_all(&[&length, header.as_slice()].concat())?)
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FramingError> {
    let text = str::from_utf8(bytes).map_err(FramingError::NotUtf8)?;
    // serde accepts a list for a struct, as the values of its fields in their order.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => FramingError::NotAnObject,
            Err(error) => FramingError::NotJson(error),
        });
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => FramingError::WrongFields(error),
        Category::Syntax | Category::Eof | Category::Io => FramingError::NotJson(error),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::ErrorKind;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::{Map, Value};
    use socketserver::mock::MockStream;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Header {
        data_size: u64,
    }

    const PREFIX: LengthPrefix = LengthPrefix::little_endian();

    /// Reads `text` behind its length.
    fn read(text: impl AsRef<[u8]>) -> Result<Header, FramingError> {
        let mut stream = Vec::new();
        PREFIX.write_frame(&mut stream, text.as_ref()).unwrap();
        let header = PREFIX.read_json_header(&mut stream.as_slice());
        header.map(|it| it.expect("the stream has a header"))
    }

    #[test]
    fn the_tutorial_s_header_is_read_byte_for_byte() {
        // struct.pack('i', len(h)) + h with h = json.dumps({'data_size': 5}).encode('utf-8')
        let mut stream = b"\x10\0\0\0{\"data_size\": 5}hello".as_slice();
        let header = PREFIX.read_json_header::<Header>(&mut stream).unwrap();
        assert_eq!(header, Some(Header { data_size: 5 }));
        assert_eq!(stream, b"hello");
    }

    #[test]
    fn a_header_is_written_as_length_and_object_in_one_write() {
        let (mut request, recording) = MockStream::new().into_request();
        request.set_wbufsize(0).unwrap();
        let header = Header { data_size: 5 };
        PREFIX.write_json_header(&mut request, &header).unwrap();
        let big = LengthPrefix::big_endian();
        big.write_json_header(&mut request, &header).unwrap();
        assert_eq!(
            recording.writes(),
            [
                b"\x0f\0\0\0{\"data_size\":5}",
                b"\0\0\0\x0f{\"data_size\":5}"
            ]
        );
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let header = read(r#" {"name": "é", "data_size": 7, "more": [{}]} "#).unwrap();
        assert_eq!(header.data_size, 7);
    }

    #[test]
    fn the_end_of_the_stream_before_a_header_is_none() {
        let header = PREFIX
            .read_json_header::<Header>(&mut b"".as_slice())
            .unwrap();
        assert_eq!(header, None);
    }

    #[test]
    fn bytes_that_are_not_utf_8_and_text_that_is_not_json_have_errors_of_their_own() {
        let error = read(b"{\"data_size\xff\": 5}").unwrap_err();
        assert!(matches!(error, FramingError::NotUtf8(_)), "{error}");
        for text in [
            "",
            "hello",
            "{",
            "{\"data_size\": 5",
            "{\"data_size\": 5} x",
            "{5}",
            "[1",
        ] {
            let error = read(text).unwrap_err();
            assert!(matches!(error, FramingError::NotJson(_)), "{text}: {error}");
        }
    }

    #[test]
    fn json_that_is_no_object_is_refused_also_where_its_values_would_fit() {
        for text in ["[5]", "5", "null", "\"data_size\"", " [] "] {
            let error = read(text).unwrap_err();
            assert!(
                matches!(error, FramingError::NotAnObject),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_field_that_is_missing_or_makes_no_sense_is_named() {
        for (text, expected) in [
            ("{}", "missing field `data_size`"),
            ("{\"data_size\": -1}", "invalid value: integer `-1`"),
            ("{\"data_size\": \"5\"}", "invalid type: string \"5\""),
            ("{\"data_size\": 1.5}", "invalid type: floating point `1.5`"),
            ("{\"data_size\": 1, \"data_size\": 2}", "duplicate field"),
            ("{\"data_size\": 18446744073709551616}", "invalid type"),
        ] {
            let error = read(text).unwrap_err();
            assert!(
                matches!(error, FramingError::WrongFields(_)),
                "{text}: {error}"
            );
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn an_object_in_an_object_a_thousand_deep_is_refused() {
        let text = "{\"data_size\":".repeat(1000) + "1" + &"}".repeat(1000);
        let mut stream = Vec::new();
        PREFIX.write_frame(&mut stream, text.as_bytes()).unwrap();
        let error = PREFIX
            .read_json_header::<Value>(&mut stream.as_slice())
            .unwrap_err();
        assert!(matches!(error, FramingError::NotJson(_)), "{error}");
    }

    #[test]
    fn a_client_that_leaves_within_a_header_is_an_error_and_between_headers_none() {
        let stream = b"\x10\0\0\0{\"data_size\": 5}";
        for received in 1..stream.len() {
            let mut part = &stream[..received];
            match PREFIX.read_json_header::<Header>(&mut part).unwrap_err() {
                FramingError::Truncated {
                    part: "length",
                    received: 1..=3,
                    announced: 4,
                } => {
                    assert!(received < 4);
                }
                FramingError::Truncated {
                    part: "header",
                    received: of_header,
                    announced: 16,
                } => {
                    assert_eq!(of_header as usize, received - 4);
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_timeout_in_the_middle_is_a_timeout() {
        let client = MockStream::new().chunk("\x10\0\0\0{\"data").timeout();
        let (mut request, _) = client.into_request();
        let error = PREFIX.read_json_header::<Header>(&mut request).unwrap_err();
        assert!(matches!(error, FramingError::Io(it) if it.kind() == ErrorKind::TimedOut));
    }

    #[test]
    fn what_is_no_object_or_too_long_is_not_written() {
        let mut stream = Vec::new();
        let error = PREFIX.write_json_header(&mut stream, &5).unwrap_err();
        assert!(matches!(error, FramingError::NotAnObject));
        let no_names = BTreeMap::from([(vec![1], 1)]);
        let error = PREFIX
            .write_json_header(&mut stream, &no_names)
            .unwrap_err();
        assert!(matches!(error, FramingError::Unserializable(_)));
        let header = Header { data_size: 5 };
        let error = PREFIX
            .max_length(14)
            .write_json_header(&mut stream, &header)
            .unwrap_err();
        assert!(matches!(
            error,
            FramingError::TooLong {
                length: 15,
                limit: 14
            }
        ));
        assert!(stream.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_however_the_stream_is_cut(
            fields in prop::collection::vec((".*", any::<i64>(), ".*"), 0..5),
            cut in 1_usize..50,
        ) {
            let mut header = Map::new();
            for (name, number, text) in fields {
                header.insert(name, Value::from(vec![Value::from(number), Value::from(text)]));
            }
            let mut stream = Vec::new();
            PREFIX.write_json_header(&mut stream, &header).unwrap();
            stream.extend(b"body");
            let client = stream.chunks(cut).fold(MockStream::new(), |client, it| client.chunk(it));
            let (mut request, _) = client.into_request();
            let read = PREFIX.read_json_header::<Map<String, Value>>(&mut request).unwrap();
            prop_assert_eq!(read, Some(header));
            let mut body = Vec::new();
            request.read_to_end(&mut body).unwrap();
            prop_assert_eq!(body, b"body");
        }

        #[test]
        fn any_bytes_are_a_header_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..100),
            json in "[{}\\[\\]\",:a-e0-9 .\\\\-]{0,40}",
        ) {
            // As the whole stream, and as a header of the right length.
            let _ = PREFIX.read_json_header::<Value>(&mut bytes.as_slice());
            let _ = read(&bytes);
            if let Ok(header) = read(&json) {
                prop_assert!(json.contains(&header.data_size.to_string()));
            }
        }
    }
}
