//! Requests without a network, to test handlers with.
//!
//! A test describes the client as a script, runs a handler over that script as a server would, and
//! examines the recording of the connection. The handler serves the same
//! [`StreamRequest`](crate::StreamRequest) or [`DatagramRequest`](crate::DatagramRequest) as in a
//! server. A test of a layer runs a stack of layers in the same way. Python has no counterpart.
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

use std::sync::Arc;

use crate::base_server::{BaseServer, guarded, serve_request};
use crate::requests::request::Request;
use crate::running::layer_handle::LayerHandle;
use crate::values::address::Address;
use crate::values::error::{HandlerResult, run_step};
use crate::values::request_event::{Refusal, RequestEvent};

pub use datagram::{DatagramRecording, MockDatagram};
pub use stream::{MockStream, StreamEvent, StreamRecording};

/// Makes the server of a handler under test, with the address 127.0.0.1:9999.
fn mock_server() -> LayerHandle {
    let server = LayerHandle::new();
    set_server_address(&server);
    server
}

fn set_server_address(server: &LayerHandle) {
    server.set_server_address(Address::from(([127, 0, 0, 1], 9999)));
}

/// Carries out the steps of a [request's life](BaseServer) after the first step. The layers do not
/// choose the thread: all steps run in this thread.
fn run_layers<S: BaseServer>(layers: S, mut request: S::Request) -> HandlerResult {
    let layers = Arc::new(layers);
    let top = guarded(&layers);
    request.guard_mut().announce();
    top.observe(request.client_address(), &RequestEvent::Accepted);
    match run_step(|| Ok(layers.verify_request(&mut request))) {
        Ok(true) => serve_request(&layers, request).map(drop),
        Ok(false) => {
            // Sends the bytes that the hook has written.
            top.refuse(&mut request, &[]);
            request.guard_mut().refuse(Refusal::NotVerified);
            top.shutdown_request(request);
            Ok(())
        }
        Err(error) => {
            request.guard_mut().note_result(Err(&error));
            top.handle_error(&mut request, &error);
            top.shutdown_request(request);
            Err(error)
        }
    }
}
