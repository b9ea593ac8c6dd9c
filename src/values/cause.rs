//! Looking for a reason in an error and its causes.

use std::error::Error as StdError;
use std::io;

/// The first error of type `T` among `error` and its causes.
pub(crate) fn find_in<T: StdError + Copy + 'static>(error: &(dyn StdError + 'static)) -> Option<T> {
    let mut error = Some(error);
    while let Some(this) = error {
        if let Some(found) = this.downcast_ref() {
            return Some(*found);
        }
        // `source` of an `io::Error` is the source of the error inside, not that error.
        let inner = this
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        error = match inner {
            Some(inner) => Some(inner),
            None => this.source(),
        };
    }
    None
}
