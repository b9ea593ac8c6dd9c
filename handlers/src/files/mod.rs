//! A file service: users with passwords, a home for each, and transfers that resume.
//!
//! This is the closing exercise of the tutorial. [`FileService`] makes the handlers of a server,
//! and [`Accounts`] and [`AccountFile`] are the file of its users. The page `file-protocol.md` of
//! the guide has the protocol. [`Request`] and [`Answer`] are its messages, for clients in Rust.
//!
//! A file receives its name only when all of its content is on the disk and has the right hash.
//! Before that the content is in a [`Partial`] file, on both sides. After a broken connection, only
//! the missing bytes are sent.
//!
//! Each source file has one task. `accounts` and `account_file` decide who may log in, and `home`
//! what a user sees. `upload`, `receive` and `download` are the transfers over `partial` and
//! `digest`. `quota` and `walk` count the bytes in use, and `locks` excludes sessions from each
//! other. `protocol`, `names` and `refusal` are the messages, `session` and `user` the
//! conversation, and `service` has what all conversations share.

mod account_file;
mod accounts;
mod digest;
mod download;
mod home;
mod locks;
mod names;
mod partial;
mod protocol;
mod quota;
mod receive;
mod refusal;
mod service;
mod session;
mod upload;
mod user;
mod walk;

pub use account_file::AccountFile;
pub use accounts::{Account, Accounts, AccountsError, LineError, Table};
pub use digest::{ContentDigest, ContentHasher};
pub use names::{escape, unescape};
pub use partial::{FinishError, Partial, is_partial_name, partial_name};
pub use protocol::{
    Answer, Entry, Greeting, HEADER_SIZE, IfExists, Kind, PART_SIZE, Request, VERSION,
};
pub use refusal::{Code, Refusal};
pub use service::{FileService, ServiceError};
pub use session::FileSession;
