//! The words of a private dialect.

/// In lower case. Comments and the pages of the book do not use them; the page docs/terms.md has
/// the terms to use instead.
pub const BANNED: &[&str] = &[
    "told", "tell", "tells", "telling", "got", "hear", "hears", "heard", "unheard", "hearing",
    "said", "say", "says", "saying", "stands",
];
