//! The words of a private dialect.

/// The list is in lower case. Comments and the pages of the book do not use these words. The page
/// docs/terms.md has the terms to use instead.
pub const BANNED: &[&str] = &[
    "told", "tell", "tells", "telling", "got", "hear", "hears", "heard", "unheard", "hearing",
    "said", "say", "says", "saying", "stands",
];
