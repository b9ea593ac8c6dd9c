//! Bytes in pieces.

use arbitrary::Arbitrary;
use socketserver::mock::MockStream;

/// The lengths of the pieces in which bytes arrive, again and again; 0 is the whole rest.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub struct Cuts([u8; 4]);

impl Cuts {
    /// The pieces of `bytes`, of which none is empty.
    pub fn pieces<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        for cut in self.0.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let length = match *cut {
                0 => rest.len(),
                cut => rest.len().min(cut.into()),
            };
            let (piece, more) = rest.split_at(length);
            pieces.push(piece);
            rest = more;
        }
        pieces
    }

    /// A client that sends `bytes` in these pieces.
    pub fn client(&self, bytes: &[u8]) -> MockStream {
        let pieces = self.pieces(bytes);
        pieces
            .into_iter()
            .fold(MockStream::new(), MockStream::chunk)
    }
}
