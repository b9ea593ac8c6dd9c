//! What is true of every input: the properties that the fuzz targets check, and that a test of the
//! stable toolchain checks for the inputs in `fuzz/corpus`.
//!
//! Each module is a target. Its `check` takes any bytes, makes an input of them, and panics if a
//! property does not hold.

pub mod addresses;
pub mod challenge;
mod cuts;
pub mod file_header;
pub mod framings;
pub mod http;
mod hyper;
mod metered;
pub mod proxy_headers;
pub mod scrapes;
pub mod scripts;
pub mod time;
#[expect(
    missing_docs,
    reason = "the sources of the command, which documents its own types"
)]
#[path = "../../../handlers/src/bin/socketserver/url.rs"]
pub mod url;

/// A target: the name, which its corpus has too, and its check.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("addresses", addresses::check),
    ("challenge", challenge::check),
    ("file_header", file_header::check),
    ("framings", framings::check),
    ("http", http::check),
    ("proxy_headers", proxy_headers::check),
    ("scrapes", scrapes::check),
    ("scripts", scripts::check),
    ("time", time::check),
];
