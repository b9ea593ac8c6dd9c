//! The tutorial's services, each a small handler for the `socketserver` framework.
//!
//! | Handler | Serves | What it does |
//! |---|---|---|
//! | [`Echo`] | streams, datagrams | sends back what comes, until the client closes |
//! | [`Upper`] | streams | sends one message back in upper case, and closes |
//! | [`UpperLoop`] | streams | sends everything back in upper case, until the client closes |
//! | [`Time`] | streams, datagrams | tells the local time in the format that the client asks for |
//! | [`Greeting`] | streams | greets a client that has said something, and closes |
//! | [`Hello`] | streams, datagrams | logs one message, answers `hi`, and closes |
//! | [`auth::Authenticated`] | streams | lets only those who know a key reach the handler behind it |
//! | [`shell::Shell`] | streams, datagrams | runs what its client sends, and answers with its output |
//! | [`shell::CommandSource`] | datagrams | sends its client what a person types, to be run there |
//! | [`chat::Chat`] | streams, datagrams | passes messages between clients and a person who answers |
//!
//! The `socketserver` command of this package serves any of them. They are as easily served by a
//! program of one's own:
//!
//! ```
//! use socketserver::ThreadingTcpServer;
//! use socketserver_handlers::Upper;
//!
//! let server = ThreadingTcpServer::bind("127.0.0.1:0", Upper::default)?;
//! println!("listening on {}", server.server_address());
//! # server.shutdown(); // So that the example ends: the loop below returns at once.
//! server.serve_forever()?;
//! # Ok::<(), socketserver::Error>(())
//! ```
//!
//! [`framing`] is for protocols of one's own: a length, or a JSON header, before each message.
//! [`FileHeader`] goes before a file, and finds what was changed on the way.
//! [`password`] is for those who store passwords.
//!
//! # One read is one message
//!
//! The tutorial's clients send commands and lines without an end mark, and its servers take what one
//! `recv(1024)` returns for a message. [`Upper`], [`Greeting`] and [`Hello`] do the same, so that
//! those clients are understood: a message that arrives in two pieces is cut after the first, and of
//! one longer than 1024 bytes the rest is not looked at.

pub mod auth;
pub mod chat;
mod echo;
mod file_header;
pub mod framing;
mod greeting;
mod hello;
mod one_read;
pub mod password;
pub mod shell;
mod time;
mod upper;
mod upper_loop;

pub use echo::Echo;
pub use file_header::{ContentError, FileHeader};
pub use greeting::{GREETING, Greeting};
pub use hello::Hello;
pub use time::Time;
pub use upper::Upper;
pub use upper_loop::UpperLoop;
