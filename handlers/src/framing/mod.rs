//! Messages in a stream of bytes: a length goes before each.
//!
//! A stream has no boundaries. Two messages sent one after the other may arrive together, and one
//! message may arrive in pieces: the tutorial's *sticky packets*. A receiver that knows each length
//! in advance can separate the messages. Both of the tutorial's ways are here:
//!
//! * [`LengthPrefix`]: four bytes with the length of what follows, as Python's `struct.pack('i',
//!   n)` makes them. [`read_frame`](LengthPrefix::read_frame) and
//!   [`write_frame`](LengthPrefix::write_frame) carry a whole message.
//! * A JSON header behind such a prefix, which describes the data behind it and has their length:
//!   [`read_json_header`](LengthPrefix::read_json_header) and
//!   [`write_json_header`](LengthPrefix::write_json_header). The data of any length are read as a
//!   [`Body`], piece by piece.
//!
//! The functions read from everything that implements [`Read`](std::io::Read), such as a
//! [`StreamRequest`](socketserver::StreamRequest), and read exactly the bytes of the message.
//! Length and message are two reads and two writes, so a buffered reader and a buffered writer save
//! system calls. No function flushes.
//!
//! The peer is not trusted: each length is compared with a limit, and memory grows with the bytes
//! that have arrived, not with the announced length. Each fault is a variant of [`FramingError`].
//! After an error the position in the stream is unknown, so close the connection.
//!
//! ```
//! use std::io::{self, Write};
//! use serde::{Deserialize, Serialize};
//! use socketserver::{HandlerResult, RequestHandler, StreamRequest};
//! use socketserver_handlers::framing::{Body, LengthPrefix};
//!
//! #[derive(Deserialize)]
//! struct Upload {
//!     data_size: u64,
//! }
//!
//! #[derive(Serialize)]
//! struct Received {
//!     bytes: u64,
//! }
//!
//! /// Reads uploads of any length, and answers with their length.
//! struct Sink;
//!
//! impl RequestHandler for Sink {
//!     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
//!         let prefix = LengthPrefix::little_endian();
//!         while let Some(upload) = prefix.read_json_header::<Upload>(request)? {
//!             let mut body = Body::new(&mut *request, upload.data_size);
//!             let bytes = io::copy(&mut body, &mut io::sink())?;
//!             prefix.write_json_header(request, &Received { bytes })?;
//!         }
//!         Ok(())
//!     }
//! }
//! # use socketserver::mock::MockStream;
//! # let client = MockStream::new().chunk(b"\x0f\0\0\0{\"data_size\":").chunk("4}da").chunk("ta");
//! # let recording = client.run(Sink);
//! # recording.result().as_ref().unwrap();
//! # assert_eq!(recording.written(), b"\x0b\0\0\0{\"bytes\":4}");
//! ```

mod body;
mod error;
mod frame;
mod json_header;
mod length_prefix;

pub use body::Body;
pub use error::FramingError;
pub use length_prefix::{DEFAULT_MAX_LENGTH, LengthPrefix};
