//! A whole message behind its length.

use std::io::{self, Read, Write};

use crate::framing::error::FramingError;
use crate::framing::length_prefix::LengthPrefix;

/// # A whole message
impl LengthPrefix {
    /// Reads a length and that many bytes. Returns `None` if the stream ends before the first byte
    /// of the length. An empty frame is a message like any other.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`read_length`](Self::read_length), and
    /// [`Truncated`](FramingError::Truncated) if the stream ends before the frame is complete.
    pub fn read_frame(&self, reader: &mut impl Read) -> Result<Option<Vec<u8>>, FramingError> {
        self.read_part("frame", reader)
    }

    /// Writes the length of `payload`, and `payload`.
    ///
    /// # Errors
    ///
    /// [`TooLong`](FramingError::TooLong), before the first byte is written;
    /// [`Io`](FramingError::Io).
    pub fn write_frame(&self, writer: &mut impl Write, payload: &[u8]) -> Result<(), FramingError> {
        self.write_length(writer, payload.len())?;
        Ok(writer.write_all(payload)?)
    }

    /// Reads a frame; `part` is its name in an error.
    pub(super) fn read_part(
        &self,
        part: &'static str,
        reader: &mut impl Read,
    ) -> Result<Option<Vec<u8>>, FramingError> {
        let Some(announced) = self.read_length(reader)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        read_as_it_arrives(reader, announced, &mut bytes)?;
        if bytes.len() as u64 == u64::from(announced) {
            Ok(Some(bytes))
        } else {
            Err(FramingError::Truncated {
                part,
                received: bytes.len() as u64,
                announced: announced.into(),
            })
        }
    }
}

/// Reads up to `length` bytes. Memory grows with the bytes that have arrived, not with `length`.
fn read_as_it_arrives(reader: &mut impl Read, length: u32, bytes: &mut Vec<u8>) -> io::Result<()> {
    reader.take(length.into()).read_to_end(bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, ErrorKind};

    use proptest::prelude::*;
    use socketserver::mock::MockStream;

    use super::*;

    const BOTH_ORDERS: [LengthPrefix; 2] =
        [LengthPrefix::little_endian(), LengthPrefix::big_endian()];

    fn read(bytes: &[u8]) -> Result<Option<Vec<u8>>, FramingError> {
        LengthPrefix::little_endian().read_frame(&mut &*bytes)
    }

    #[test]
    fn an_empty_frame_is_a_message_and_the_end_of_the_stream_is_none() {
        assert_eq!(read(b"\0\0\0\0").unwrap().unwrap(), b"");
        assert!(read(b"").unwrap().is_none());
    }

    #[test]
    fn exactly_the_message_is_read_and_the_next_one_stays() {
        let mut stream = b"\x02\0\0\0hinext".as_slice();
        let prefix = LengthPrefix::little_endian();
        assert_eq!(prefix.read_frame(&mut stream).unwrap().unwrap(), b"hi");
        assert_eq!(stream, b"next");
    }

    #[test]
    fn an_announcement_alone_takes_no_memory() {
        let mut bytes = Vec::new();
        read_as_it_arrives(&mut b"abc".as_slice(), u32::MAX, &mut bytes).unwrap();
        assert_eq!(bytes, b"abc");
        assert!(bytes.capacity() <= 1024, "{}", bytes.capacity());
    }

    #[test]
    fn memory_grows_with_what_arrives() {
        let mut bytes = Vec::new();
        let arrived = [7; 100_000];
        read_as_it_arrives(&mut arrived.as_slice(), u32::MAX, &mut bytes).unwrap();
        assert_eq!(bytes, arrived);
        assert!(
            bytes.capacity() <= 4 * arrived.len(),
            "{}",
            bytes.capacity()
        );
    }

    /// A reader with a signal before every byte.
    struct Interrupted<'a>(&'a [u8], bool);

    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::Interrupted.into());
            }
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }

    #[test]
    fn a_signal_in_between_is_not_noticed() {
        let mut stream = Interrupted(b"\x02\0\0\0hi", false);
        let prefix = LengthPrefix::little_endian();
        assert_eq!(prefix.read_frame(&mut stream).unwrap().unwrap(), b"hi");
        assert!(prefix.read_frame(&mut stream).unwrap().is_none());
    }

    #[test]
    fn a_timeout_and_a_reset_pass_through_wherever_they_happen() {
        for kind in [
            ErrorKind::TimedOut,
            ErrorKind::WouldBlock,
            ErrorKind::ConnectionReset,
        ] {
            for before in [b"".as_slice(), b"\x05\0", b"\x05\0\0\0", b"\x05\0\0\0me"] {
                let client = MockStream::new().chunk(before).read_error(kind);
                let (mut request, _) = client.into_request();
                let error = LengthPrefix::little_endian()
                    .read_frame(&mut request)
                    .unwrap_err();
                match error {
                    FramingError::Io(error) => assert_eq!(error.kind(), kind),
                    other => panic!("{other}"),
                }
            }
        }
    }

    #[test]
    fn length_and_payload_leave_a_request_together() {
        let (mut request, recording) = MockStream::new().into_request();
        let prefix = LengthPrefix::big_endian();
        prefix.write_frame(&mut request, b"hi").unwrap();
        request.flush().unwrap();
        assert_eq!(recording.writes(), [b"\0\0\0\x02hi"]);
    }

    #[test]
    fn a_write_that_fails_is_an_io_error() {
        let client = MockStream::new().write_error_after(0, ErrorKind::BrokenPipe);
        let (mut request, _) = client.into_request();
        request.set_wbufsize(0).unwrap();
        let error = LengthPrefix::big_endian()
            .write_frame(&mut request, b"hi")
            .unwrap_err();
        assert!(matches!(error, FramingError::Io(it) if it.kind() == ErrorKind::BrokenPipe));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_however_the_stream_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..5),
            cuts in prop::collection::vec(1_usize..2000, 1..20),
            order in 0..2_usize,
        ) {
            let prefix = BOTH_ORDERS[order];
            let mut stream = Vec::new();
            for message in &messages {
                prefix.write_frame(&mut stream, message).unwrap();
            }
            let mut client = MockStream::new();
            let mut rest = stream.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, more) = rest.split_at(rest.len().min(*cut));
                client = client.chunk(piece);
                rest = more;
            }
            let (mut request, _) = client.into_request();
            for message in &messages {
                prop_assert_eq!(&prefix.read_frame(&mut request).unwrap().unwrap(), message);
            }
            prop_assert!(prefix.read_frame(&mut request).unwrap().is_none());
        }

        #[test]
        fn any_bytes_are_messages_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            zeros in any::<bool>(),
            order in 0..2_usize,
        ) {
            // Two zero bytes, since almost every other length is out of bounds.
            let bytes = if zeros { bytes.iter().map(|it| it % 4).collect() } else { bytes };
            let prefix = BOTH_ORDERS[order];
            let mut rest = bytes.as_slice();
            let mut taken = Vec::new();
            while let Ok(Some(message)) = prefix.read_frame(&mut rest) {
                prefix.write_frame(&mut taken, &message).unwrap();
            }
            prop_assert!(bytes.starts_with(&taken));
            prop_assert!(rest.fill_buf().unwrap().len() + taken.len() <= bytes.len());
        }
    }
}
