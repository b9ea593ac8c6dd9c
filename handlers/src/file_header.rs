//! The header of a file, which is sent before its content.

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::framing::{Body, FramingError, LengthPrefix};

/// The tutorial's header of a file: its name, its size, and the MD5 of its content in hexadecimal,
/// as a JSON object behind a length of 4 bytes, little-endian.
///
/// MD5 detects the errors of a transfer. MD5 does not detect the changes of an attacker.
///
/// ```
/// use socketserver_handlers::FileHeader;
///
/// let mut wire = Vec::new();
/// let header = FileHeader::new("notes.txt", &b"some content"[..])?;
/// header.write(&mut wire)?;
/// wire.extend(b"some content");
///
/// let mut received = wire.as_slice();
/// let header = FileHeader::read(&mut received)?.expect("a header has been written");
/// let mut content = Vec::new();
/// header.receive_content(&mut received, &mut content)?;
/// assert_eq!((header.file_name.as_str(), &*content), ("notes.txt", &b"some content"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHeader {
    /// The name that the sender has chosen. The name is untrusted: it may be an absolute path, or
    /// leave any directory by `..`.
    pub file_name: String,
    /// The size of the content, in bytes.
    pub file_size: u64,
    /// The MD5 of the content, as 32 hexadecimal digits.
    pub md5: String,
}

/// The longest header, in bytes: more than any file name needs.
const MAX_HEADER_LENGTH: u32 = 64 << 10;

const PREFIX: LengthPrefix = LengthPrefix::little_endian().max_length(MAX_HEADER_LENGTH);

impl FileHeader {
    /// Makes the header of a file with this name and content. The content is read to its end.
    ///
    /// # Errors
    ///
    /// If the content cannot be read.
    pub fn new(file_name: impl Into<String>, mut content: impl Read) -> io::Result<Self> {
        let mut summed = Summed::new(io::sink());
        let file_size = io::copy(&mut content, &mut summed)?;
        Ok(Self {
            file_name: file_name.into(),
            file_size,
            md5: summed.md5(),
        })
    }

    /// Writes the header. Write the content next.
    ///
    /// # Errors
    ///
    /// If the name is too long, or the writer fails.
    pub fn write(&self, writer: &mut impl Write) -> Result<(), FramingError> {
        PREFIX.write_json_header(writer, self)
    }

    /// Reads a header; `None` if the stream ends before it.
    ///
    /// # Errors
    ///
    /// If the bytes are no header.
    pub fn read(reader: &mut impl Read) -> Result<Option<Self>, FramingError> {
        PREFIX.read_json_header(reader)
    }

    /// Copies the content behind the header to `writer`, piece by piece, and compares its MD5 with
    /// the announced one at the end.
    ///
    /// # Errors
    ///
    /// If the stream ends too early, the reader or the writer fails, or the MD5 differs. The writer
    /// then has the part of the content that arrived.
    pub fn receive_content(
        &self,
        reader: impl BufRead,
        writer: impl Write,
    ) -> Result<(), ContentError> {
        let mut summed = Summed::new(writer);
        io::copy(&mut Body::new(reader, self.file_size), &mut summed)?;
        let received = summed.md5();
        if received.eq_ignore_ascii_case(&self.md5) {
            Ok(())
        } else {
            Err(ContentError::Changed {
                announced: self.md5.clone(),
                received,
            })
        }
    }
}

/// Why the content of a file could not be received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// The content did not arrive completely, or could not be written.
    #[error("cannot receive the content: {0}")]
    Io(#[from] io::Error),

    /// The MD5 of the content differs from the announced one.
    #[error(
        "the content was changed on its way: its md5 is {received}, and {announced:?} was announced"
    )]
    Changed {
        /// The MD5 in the header.
        announced: String,
        /// The MD5 of the received content.
        received: String,
    },
}

/// A writer that computes the MD5 of its bytes.
struct Summed<W> {
    writer: W,
    md5: Md5,
}

impl<W> Summed<W> {
    fn new(writer: W) -> Self {
        let md5 = Md5::new();
        Self { writer, md5 }
    }

    fn md5(self) -> String {
        let digest = self.md5.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.md5.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl<W> fmt::Debug for Summed<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Summed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use socketserver::mock::MockStream;

    use super::*;

    /// The bytes that Python sends: `struct.pack('i', len(header)) + header`, with
    /// `header = json.dumps({'file_name': 'a.txt', 'file_size': 5, 'md5': …}).encode()`.
    const FROM_PYTHON: &[u8] = b"\x51\0\0\0{\"file_name\": \"a.txt\", \"file_size\": 5, \"md5\": \
        \"5d41402abc4b2a76b9719d911017c592\"}";

    #[test]
    fn a_header_that_python_made_is_read() {
        let wire = [FROM_PYTHON, b"hello, and more"].concat();
        let mut received = wire.as_slice();
        let header = FileHeader::read(&mut received).unwrap().unwrap();
        assert_eq!(header, FileHeader::new("a.txt", &b"hello"[..]).unwrap());
        let mut content = Vec::new();
        header.receive_content(&mut received, &mut content).unwrap();
        assert_eq!(content, b"hello");
        assert_eq!(received, b", and more");
    }

    #[test]
    fn a_header_is_written_as_python_reads_it() {
        let mut wire = Vec::new();
        let header = FileHeader::new("a.txt", &b"hello"[..]).unwrap();
        header.write(&mut wire).unwrap();
        let json =
            br#"{"file_name":"a.txt","file_size":5,"md5":"5d41402abc4b2a76b9719d911017c592"}"#;
        let length = u32::try_from(json.len()).unwrap();
        assert_eq!(wire, [&length.to_le_bytes()[..], json].concat());
    }

    #[test]
    fn changed_content_is_an_error() {
        let header = FileHeader::new("a.txt", &b"hello"[..]).unwrap();
        let error = header
            .receive_content(&b"hallo"[..], io::sink())
            .unwrap_err();
        assert!(matches!(error, ContentError::Changed { .. }), "{error}");
    }

    #[test]
    fn content_that_ends_too_early_is_an_error() {
        let header = FileHeader::new("a.txt", &b"hello"[..]).unwrap();
        let mut content = Vec::new();
        let error = header
            .receive_content(&b"hell"[..], &mut content)
            .unwrap_err();
        assert!(
            matches!(&error, ContentError::Io(error)
            if error.kind() == io::ErrorKind::UnexpectedEof),
            "{error}"
        );
        assert_eq!(content, b"hell");
    }

    #[test]
    fn a_negative_size_and_a_missing_field_are_refused() {
        for json in [
            r#"{"file_name":"a","file_size":-1,"md5":""}"#,
            r#"{"file_name":"a","md5":""}"#,
        ] {
            let length = u32::try_from(json.len()).unwrap().to_le_bytes();
            let wire = [&length[..], json.as_bytes()].concat();
            let error = FileHeader::read(&mut wire.as_slice()).unwrap_err();
            assert!(matches!(error, FramingError::WrongFields(_)), "{error}");
        }
    }

    #[test]
    fn a_header_above_the_limit_is_refused_by_its_length() {
        let error = FileHeader::read(&mut &i32::MAX.to_le_bytes()[..]).unwrap_err();
        assert!(matches!(error, FramingError::TooLong { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn any_file_arrives_as_it_was_sent_however_the_stream_is_cut(
            name: String,
            content in prop::collection::vec(any::<u8>(), 0..5000),
            cuts in prop::collection::vec(1_usize..700, 1..20),
        ) {
            let header = FileHeader::new(name, content.as_slice()).unwrap();
            let mut wire = Vec::new();
            header.write(&mut wire).unwrap();
            wire.extend(&content);
            let (mut client, mut rest) = (MockStream::new(), wire.as_slice());
            for cut in cuts.iter().cycle() {
                let (chunk, left) = rest.split_at(rest.len().min(*cut));
                client = client.chunk(chunk);
                rest = left;
                if rest.is_empty() {
                    break;
                }
            }
            let (mut request, _) = client.into_request();
            let received = FileHeader::read(&mut request).unwrap().unwrap();
            prop_assert_eq!(&received, &header);
            let mut received_content = Vec::new();
            received.receive_content(&mut request, &mut received_content).unwrap();
            prop_assert_eq!(received_content, content);
        }
    }
}
