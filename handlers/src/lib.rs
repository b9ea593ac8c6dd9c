//! The tutorial's services, each a small handler for the `socketserver` framework; and HTTP, any
//! program as a service, a service of files, and rules of admission.
//!
//! | Handler | Serves | What it does |
//! |---|---|---|
//! | [`Echo`] | streams, datagrams | sends everything back, until the client closes |
//! | [`Upper`] | streams | sends one message back in upper case, and closes |
//! | [`UpperLoop`] | streams | sends everything back in upper case, until the client closes |
//! | [`Time`] | streams, datagrams | answers with the local time in the format of the client |
//! | [`Greeting`] | streams | greets a client that has sent a message, and closes |
//! | [`Hello`] | streams, datagrams | logs one message, answers `hi`, and closes |
//! | [`auth::Authenticated`] | streams | runs a handler only for clients that know a key |
//! | [`shell::Shell`] | streams, datagrams | runs commands, and answers with their output |
//! | [`shell::CommandSource`] | datagrams | sends commands that a person types, to run there |
//! | [`exec::Exec`] | streams, datagrams | runs a program for each client, on its connection |
//! | [`files::FileSession`] | streams | logs users in, and keeps their files |
//! | [`chat::Chat`] | streams, datagrams | passes messages to and from a person |
//!
//! The `socketserver` command of this package serves any of them, and so does your own program:
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
//! The module `http` is for services over HTTP, and serves the files of a directory. [`framing`] is
//! for your own protocols: a length, or a JSON header, before each message.
//! [`FileHeader`] goes before a file, and detects errors of the transfer. [`password`] stores
//! passwords.
//!
//! [`admission`] has a layer that refuses clients by their addresses, and at a rate.
//! [`LoopLimit`] is a layer for services that answer every datagram. It ends the endless exchange
//! that a forged datagram can begin between two of them.
//!
//! # One read is one message
//!
//! The tutorial's clients send commands and lines without an end mark, and one `recv(1024)` of its
//! servers is one message. [`Upper`], [`Greeting`] and [`Hello`] do the same for those clients. If
//! a message arrives in two pieces, these handlers read the first piece. Of a longer message they
//! read the first 1024 bytes.

pub mod admission;
pub mod auth;
pub mod chat;
mod echo;
pub mod exec;
mod file_header;
#[cfg(feature = "files")]
pub mod files;
pub mod framing;
mod greeting;
mod hello;
#[cfg(feature = "http")]
pub mod http;
mod loop_limit;
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
pub use loop_limit::LoopLimit;
pub use time::Time;
pub use upper::Upper;
pub use upper_loop::UpperLoop;
