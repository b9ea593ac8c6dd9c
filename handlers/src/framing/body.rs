//! The data behind a header, read piece by piece.

use std::io::{self, BufRead, Read};

use crate::framing::error::FramingError;

/// Reads the number of bytes that a header has announced, piece by piece.
///
/// The body ends after the announced number of bytes, and leaves the rest in the stream. If the
/// stream ends earlier, a read fails with [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), with a
/// [`FramingError::Truncated`] inside; [`Take`](io::Take) would return the end of file. A copy that
/// succeeds is therefore complete.
///
/// ```
/// use std::io::Read;
/// use socketserver_handlers::framing::Body;
///
/// let mut stream = b"hello, world".as_slice();
/// let mut text = String::new();
/// Body::new(&mut stream, 5).read_to_string(&mut text)?;
/// assert_eq!(text, "hello");
///
/// let error = Body::new(stream, 50).read_to_string(&mut text).unwrap_err();
/// assert_eq!(error.to_string(), "the end of file came after 7 of 50 bytes of the body");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Body<R> {
    rest: io::Take<R>,
    announced: u64,
}

impl<R: Read> Body<R> {
    /// The next `length` bytes of `reader`, which may be a `&mut` reference to the stream.
    pub fn new(reader: R, length: u64) -> Self {
        Self {
            rest: reader.take(length),
            announced: length,
        }
    }

    /// The number of bytes that are still to be read.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.rest.limit()
    }

    fn check_end(&self) -> io::Result<()> {
        match self.remaining() {
            0 => Ok(()),
            remaining => Err(io::Error::from(FramingError::Truncated {
                part: "body",
                received: self.announced - remaining,
                announced: self.announced,
            })),
        }
    }
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.rest.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.check_end()?;
        }
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Body<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.fill_buf()?.is_empty() {
            self.check_end()?;
        }
        self.rest.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.rest.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use proptest::prelude::*;
    use socketserver::mock::MockStream;

    use super::*;

    #[test]
    fn an_early_end_is_an_error_with_the_number_of_bytes() {
        let (mut request, _) = MockStream::new().chunk("da").chunk("t").into_request();
        let mut body = Body::new(&mut request, 4);
        let mut bytes = Vec::new();
        let error = body.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(bytes, b"dat");
        assert_eq!(body.remaining(), 1);
        let error = FramingError::from(error);
        assert!(matches!(
            error,
            FramingError::Truncated {
                part: "body",
                received: 3,
                announced: 4
            }
        ));
    }

    #[test]
    fn an_early_end_is_an_error_also_of_a_buffered_read() {
        let mut body = Body::new(b"dat".as_slice(), 4);
        assert_eq!(body.fill_buf().unwrap(), b"dat");
        body.consume(3);
        let error = body.fill_buf().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_body_of_nothing_is_at_its_end_and_asks_the_stream_for_nothing() {
        let client = MockStream::new().read_error(ErrorKind::ConnectionReset);
        let (mut request, recording) = client.into_request();
        let mut body = Body::new(&mut request, 0);
        assert_eq!(body.read(&mut [0; 8]).unwrap(), 0);
        assert!(body.fill_buf().unwrap().is_empty());
        assert!(recording.events().is_empty());
    }

    #[test]
    fn a_read_into_an_empty_buffer_is_not_the_end() {
        assert_eq!(Body::new(b"data".as_slice(), 4).read(&mut []).unwrap(), 0);
    }

    #[test]
    fn a_timeout_is_a_timeout() {
        let (request, _) = MockStream::new().chunk("da").timeout().into_request();
        let error = Body::new(request, 4)
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn the_largest_announcement_is_copied_as_far_as_it_comes() {
        let mut copied = Vec::new();
        let error = io::copy(&mut Body::new(b"data".as_slice(), u64::MAX), &mut copied);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(copied, b"data");
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut_a_body_has_its_bytes_and_no_more(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..8),
            length in 0_usize..20_000,
        ) {
            let stream = chunks.concat();
            let client = MockStream::new();
            let client = chunks.iter().fold(client, |client, chunk| client.chunk(chunk));
            let (mut request, _) = client.into_request();
            let mut bytes = Vec::new();
            let read = Body::new(&mut request, length as u64).read_to_end(&mut bytes);
            prop_assert_eq!(read.is_ok(), length <= stream.len());
            prop_assert_eq!(&bytes, &stream[..length.min(stream.len())]);
            let mut rest = Vec::new();
            request.read_to_end(&mut rest).unwrap();
            prop_assert_eq!(rest, &stream[bytes.len()..]);
        }
    }
}
