//! A service that can be drained, and reports when it is.

use std::io::Write;

use socketserver::{HandlerResult, RequestHandler, StreamRequest};

use crate::reports::Reporter;
use crate::services::read_line;

/// Answers each line with itself. When `wait` is over, sends a goodbye to the client, and reports
/// it to the test.
#[derive(Debug)]
pub struct Conversation(pub Reporter);

impl RequestHandler for Conversation {
    fn handle(&mut self, request: &mut StreamRequest) -> HandlerResult {
        request.write_all(b"welcome\n")?;
        while request.wait()? {
            let line = read_line(request)?;
            writeln!(request, "{line}")?;
        }
        self.0.say("told");
        assert!(request.server().is_draining());
        Ok(request.write_all(b"goodbye\n")?)
    }
}
