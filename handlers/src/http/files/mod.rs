//! The files of a directory over HTTP: what `python3 -m http.server` serves, and what the users of
//! that server miss.

mod conditions;
mod encodings;
mod entries;
mod file_status;
mod listing_page;
mod open_files;
mod range;
mod request_path;
mod root;
mod static_files;

pub use static_files::StaticFiles;
