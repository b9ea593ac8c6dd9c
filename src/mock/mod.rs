//! Requests without a network, to test handlers with.
//!
//! A test describes the client as a script, runs a handler over that script as a server would, and
//! examines the recording of the connection. The handler serves the same
//! [`StreamRequest`](crate::StreamRequest) or [`DatagramRequest`](crate::DatagramRequest) as in a
//! server. Python has no counterpart.
//!
//! ```
//! use std::io::{BufRead, Write};
//! use socketserver::mock::MockStream;
//! use socketserver::{HandlerResult, RequestHandler, StreamRequest};
//!
//! struct Greet;
//!
//! impl RequestHandler for Greet {
//!     fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
//!         write!(request, "Your name? ")?;
//!         let mut name = String::new();
//!         request.read_line(&mut name)?;
//!         writeln!(request, "Hello, {}!", name.trim())?;
//!         Ok(())
//!     }
//! }
//!
//! // The name arrives in two pieces.
//! let recording = MockStream::new().chunk("Gra").chunk("ce\n").run(Greet);
//! recording.result().as_ref().unwrap();
//! assert_eq!(recording.writes(), [b"Your name? ".as_slice(), b"Hello, Grace!\n"]);
//! assert!(recording.is_shut_down());
//! ```

mod datagram;
mod stream;
mod text;

use crate::running::layer_handle::LayerHandle;
use crate::values::address::Address;

pub use datagram::{DatagramRecording, MockDatagram};
pub use stream::{MockStream, StreamEvent, StreamRecording};

/// The server of a handler under test, with the address 127.0.0.1:9999.
fn mock_server() -> LayerHandle {
    let server = LayerHandle::new();
    server.set_server_address(Address::from(([127, 0, 0, 1], 9999)));
    server
}
