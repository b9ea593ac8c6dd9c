//! The header of a file, and its content.

use arbitrary::{Arbitrary, Unstructured};
use socketserver_handlers::{ContentError, FileHeader};

use crate::cuts::Cuts;
use crate::framings::is_fit_to_be_shown;
use crate::metered::Metered;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    cuts: Cuts,
    /// The place of a changed byte in the content; where there is none, nothing is changed.
    changed: u16,
    /// The number of bytes that come, at most.
    comes: u16,
    name: &'a str,
    content: &'a [u8],
}

/// Checks that any bytes are a header that comes back or an error; that a header and its content
/// come back as they were sent; and that a change of the content and an early end are errors.
pub fn check(bytes: &[u8]) {
    any_bytes_are_a_header_or_an_error(bytes);
    if let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) {
        input.header_and_content_come_back();
    }
}

fn any_bytes_are_a_header_or_an_error(bytes: &[u8]) {
    // The bytes behind a length, since a random length is almost always too long.
    let length = u32::try_from(bytes.len()).expect("an input of the fuzzer is short");
    let stream = [&length.to_le_bytes(), bytes].concat();
    match FileHeader::read(&mut Metered::new(stream.as_slice())) {
        Ok(header) => {
            let header = header.expect("the stream has a header");
            let mut written = Vec::new();
            header
                .write(&mut written)
                .expect("the header came in a header");
            let again = FileHeader::read(&mut written.as_slice());
            assert_eq!(again.expect("a header was written"), Some(header));
        }
        Err(error) => is_fit_to_be_shown(&error),
    }
    if let Err(error) = FileHeader::read(&mut Metered::new(bytes)) {
        is_fit_to_be_shown(&error);
    }
}

impl Input<'_> {
    fn header_and_content_come_back(&self) {
        let header = FileHeader::new(self.name, self.content).expect("a slice can be read");
        let mut sent = Vec::new();
        if header.write(&mut sent).is_err() {
            assert!(self.name.len() * 6 > 60_000, "the name is not too long");
            return;
        }
        let mut content = self.content.to_owned();
        let changed = content.get_mut(usize::from(self.changed));
        let is_changed = changed.map(|byte| *byte ^= 1).is_some();
        content.truncate(self.comes.into());
        let is_whole = content.len() == self.content.len();
        sent.extend(&content);

        let (mut request, _) = self.cuts.client(&sent).into_request();
        let read = FileHeader::read(&mut request).expect("a header was sent");
        assert_eq!(read.as_ref(), Some(&header));
        let mut received = Vec::new();
        match header.receive_content(&mut request, &mut received) {
            Ok(()) => assert!(is_whole && !is_changed),
            Err(ContentError::Changed { .. }) => assert!(is_whole && is_changed),
            Err(error) => assert!(!is_whole, "{error}"),
        }
        assert_eq!(received, content);
    }
}
