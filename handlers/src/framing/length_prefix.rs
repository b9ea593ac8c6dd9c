//! Four bytes with the length of what follows.

use std::io::{ErrorKind, Read, Write};

use crate::framing::error::FramingError;

/// The default limit of a [`LengthPrefix`], in bytes: 1 MiB.
pub const DEFAULT_MAX_LENGTH: u32 = 1 << 20;

/// The largest signed 32-bit number.
const LARGEST_LENGTH: u32 = i32::MAX.unsigned_abs();

/// How lengths are written on a stream, and the limit of lengths.
///
/// A length is a signed 32-bit number, as in Python's `struct.pack('i', n)`, so it is at most
/// 2,147,483,647 bytes (2 GiB − 1), and the prefix is four bytes. The length does not include the
/// prefix.
///
/// ```
/// use socketserver_handlers::framing::LengthPrefix;
///
/// let prefix = LengthPrefix::little_endian().max_length(100);
/// let mut stream = Vec::new();
/// prefix.write_frame(&mut stream, b"hi")?;
/// prefix.write_frame(&mut stream, b"meinv")?;
/// assert_eq!(stream, b"\x02\0\0\0hi\x05\0\0\0meinv");
///
/// let mut reader = stream.as_slice();
/// assert_eq!(prefix.read_frame(&mut reader)?, Some(b"hi".to_vec()));
/// assert_eq!(prefix.read_frame(&mut reader)?, Some(b"meinv".to_vec()));
/// assert_eq!(prefix.read_frame(&mut reader)?, None);
/// # Ok::<(), socketserver_handlers::framing::FramingError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[doc(alias = "struct.pack")]
pub struct LengthPrefix {
    byte_order: ByteOrder,
    max_length: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl LengthPrefix {
    /// The lowest byte first, as the tutorial's programs send: Python's `'i'` on x86 and ARM, and
    /// `'<i'` everywhere.
    pub const fn little_endian() -> Self {
        Self {
            byte_order: ByteOrder::Little,
            max_length: DEFAULT_MAX_LENGTH,
        }
    }

    /// The highest byte first, the order of the network's own protocols: Python's `'!i'`.
    pub const fn big_endian() -> Self {
        Self {
            byte_order: ByteOrder::Big,
            max_length: DEFAULT_MAX_LENGTH,
        }
    }

    /// Sets the longest message that is read or written, in bytes; the default is
    /// [`DEFAULT_MAX_LENGTH`]. A message with its length at the limit passes. A larger limit than
    /// 2,147,483,647 has the effect of that number.
    pub const fn max_length(mut self, bytes: u32) -> Self {
        self.max_length = if bytes < LARGEST_LENGTH {
            bytes
        } else {
            LARGEST_LENGTH
        };
        self
    }

    /// Reads a length. Returns `None` if the stream ends before its first byte, as it may between
    /// two messages.
    ///
    /// # Errors
    ///
    /// [`NegativeLength`](FramingError::NegativeLength), [`TooLong`](FramingError::TooLong),
    /// [`Truncated`](FramingError::Truncated) if one to three bytes came, and
    /// [`Io`](FramingError::Io).
    pub fn read_length(&self, reader: &mut impl Read) -> Result<Option<u32>, FramingError> {
        let mut bytes = [0; 4];
        match read_until_full(reader, &mut bytes)? {
            0 => return Ok(None),
            4 => {}
            received => {
                return Err(FramingError::Truncated {
                    part: "length",
                    received: received as u64,
                    announced: 4,
                });
            }
        }
        let length = match self.byte_order {
            ByteOrder::Little => i32::from_le_bytes(bytes),
            ByteOrder::Big => i32::from_be_bytes(bytes),
        };
        let unsigned = u32::try_from(length).map_err(|_| FramingError::NegativeLength(length))?;
        self.check(unsigned.into()).map(|_| Some(unsigned))
    }

    /// Writes a length.
    ///
    /// # Errors
    ///
    /// [`TooLong`](FramingError::TooLong), before the first byte is written;
    /// [`Io`](FramingError::Io).
    pub fn write_length(&self, writer: &mut impl Write, length: usize) -> Result<(), FramingError> {
        Ok(writer.write_all(&self.encode(length)?)?)
    }

    /// The four bytes of a length.
    pub(super) fn encode(&self, length: usize) -> Result<[u8; 4], FramingError> {
        let length = self.check(length as u64)?;
        Ok(match self.byte_order {
            ByteOrder::Little => length.to_le_bytes(),
            ByteOrder::Big => length.to_be_bytes(),
        })
    }

    fn check(&self, length: u64) -> Result<i32, FramingError> {
        let limit = self.max_length;
        i32::try_from(length)
            .ok()
            .filter(|_| length <= limit.into())
            .ok_or(FramingError::TooLong { length, limit })
    }
}

/// Reads until `buffer` is full or the stream ends, and returns the number of bytes.
fn read_until_full(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH_ORDERS: [LengthPrefix; 2] =
        [LengthPrefix::little_endian(), LengthPrefix::big_endian()];

    fn read(bytes: &[u8]) -> Result<Option<Vec<u8>>, FramingError> {
        LengthPrefix::little_endian().read_frame(&mut &*bytes)
    }

    #[test]
    fn the_bytes_are_those_of_python_s_struct_pack() {
        for (length, little, big) in [
            (0, b"\0\0\0\0", b"\0\0\0\0"),
            (5, b"\x05\0\0\0", b"\0\0\0\x05"),
            (1_000_000, b"\x40\x42\x0f\0", b"\0\x0f\x42\x40"),
            (i32::MAX as usize, b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff"),
        ] {
            for (prefix, bytes) in BOTH_ORDERS.into_iter().zip([little, big]) {
                let prefix = prefix.max_length(u32::MAX);
                let mut written = Vec::new();
                prefix.write_length(&mut written, length).unwrap();
                assert_eq!(written, bytes);
                let read = prefix.read_length(&mut written.as_slice()).unwrap();
                assert_eq!(read.unwrap() as usize, length);
            }
        }
    }

    #[test]
    fn a_negative_length_is_refused_as_such() {
        for (bytes, expected) in [(b"\xff\xff\xff\xff", -1), (b"\0\0\0\x80", i32::MIN)] {
            let error = read(bytes).unwrap_err();
            assert!(matches!(error, FramingError::NegativeLength(length) if length == expected));
        }
    }

    #[test]
    fn a_length_at_the_limit_passes_and_a_longer_one_is_refused_with_both_numbers() {
        let prefix = LengthPrefix::little_endian().max_length(3);
        let mut stream = b"\x03\0\0\0abc\x04\0\0\0abcd".as_slice();
        assert_eq!(prefix.read_frame(&mut stream).unwrap().unwrap(), b"abc");
        let error = prefix.read_frame(&mut stream).unwrap_err();
        assert!(matches!(
            error,
            FramingError::TooLong {
                length: 4,
                limit: 3
            }
        ));
        let default = b"\x01\0\x10\0".as_slice();
        assert!(matches!(
            read(default).unwrap_err(),
            FramingError::TooLong {
                limit: DEFAULT_MAX_LENGTH,
                ..
            }
        ));
    }

    #[test]
    fn of_a_message_above_the_limit_nothing_is_written() {
        let mut stream = Vec::new();
        let prefix = LengthPrefix::big_endian().max_length(3);
        let error = prefix.write_frame(&mut stream, b"abcd").unwrap_err();
        assert!(matches!(
            error,
            FramingError::TooLong {
                length: 4,
                limit: 3
            }
        ));
        let limitless = LengthPrefix::big_endian().max_length(u32::MAX);
        for length in [1 << 31, usize::MAX] {
            let error = limitless.write_length(&mut stream, length).unwrap_err();
            assert!(matches!(
                error,
                FramingError::TooLong {
                    limit: LARGEST_LENGTH,
                    ..
                }
            ));
        }
        assert!(stream.is_empty());
    }

    #[test]
    fn an_end_in_the_middle_has_the_part_and_the_numbers() {
        for (bytes, expected) in [
            (b"\x05".as_slice(), ("length", 1, 4)),
            (b"\x05\0\0", ("length", 3, 4)),
            (b"\x05\0\0\0", ("frame", 0, 5)),
            (b"\x05\0\0\0mein", ("frame", 4, 5)),
        ] {
            match read(bytes).unwrap_err() {
                FramingError::Truncated {
                    part,
                    received,
                    announced,
                } => {
                    assert_eq!((part, received, announced), expected);
                }
                other => panic!("{other}"),
            }
        }
    }
}
