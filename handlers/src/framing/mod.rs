//! Messages in a stream of bytes: a length goes before each.
//!
//! A stream has no boundaries. Two messages sent one after the other may arrive together, and one
//! may arrive in pieces: the tutorial's *sticky packets*. A receiver that knows the length in advance
//! takes them apart. Both of the tutorial's ways are here:
//!
//! * [`LengthPrefix`]: four bytes with the length of what follows, as Python's `struct.pack('i', n)`
//!   makes them. [`read_frame`](LengthPrefix::read_frame) and
//!   [`write_frame`](LengthPrefix::write_frame) carry a whole message.
//! * A JSON header behind such a prefix, which says what follows and how long it is:
//!   [`read_json_header`](LengthPrefix::read_json_header) and
//!   [`write_json_header`](LengthPrefix::write_json_header). What follows is read as a [`Body`],
//!   piece by piece, however long it is.
//!
//! Reading works over anything that implements [`Read`](std::io::Read), a
//! [`StreamRequest`](socketserver::StreamRequest) for one, and takes from it exactly the bytes of the
//! message: the next message stays where it is. Length and message are read one after the other, so
//! a buffered reader costs fewer system calls; for the same reason a buffered writer sends both at
//! once. Nothing here flushes.
//!
//! Nothing is believed: a length is checked against a limit, and memory grows with the bytes that
//! have arrived, not with the number that a stranger has sent. Each thing that may be wrong is a
//! variant of [`FramingError`]. After any error the place in the stream is lost, and nothing more
//! can be read from it with sense.
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
//! /// Takes what clients send, of any length, and tells how much it was.
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
