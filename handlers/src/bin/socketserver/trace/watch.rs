//! What the client of a trace waits for, from the lines of the trace.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use socketserver::TraceLine;

/// How long a step may take that needs no client: the server is in this program.
const PATIENCE: Duration = Duration::from_secs(10);

/// A step that a line shows.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// No client has come: the loop waits.
    LoopWaits,
    RequestEnded,
}

/// Takes the lines.
#[derive(Debug)]
pub struct Watched(Sender<Step>);

/// Waits for lines.
#[derive(Debug)]
pub struct Watch(Receiver<Step>);

pub fn watch() -> (Watched, Watch) {
    let (sender, receiver) = channel();
    (Watched(sender), Watch(receiver))
}

impl Watched {
    pub fn note(&self, line: &TraceLine) {
        let ends = |it: &String| it.contains("Ended") || it.contains("Refused");
        let step = match line.hook {
            "get_request" if line.result.is_some() => Step::LoopWaits,
            "observe" if line.arguments.as_ref().is_some_and(ends) => Step::RequestEnded,
            _ => return,
        };
        // Nobody receives without a message.
        let _ = self.0.send(step);
    }
}

impl Watch {
    /// Waits until the loop has looked for a client.
    pub fn wait_for_loop(&self) {
        self.wait_for(&Step::LoopWaits);
    }

    /// Waits until a request has ended.
    pub fn wait_for_end(&self) {
        self.wait_for(&Step::RequestEnded);
    }

    fn wait_for(&self, step: &Step) {
        while self.0.recv_timeout(PATIENCE).is_ok_and(|it| it != *step) {}
    }
}
