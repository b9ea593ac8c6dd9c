//! The lines of the calls on standard output, in colours in a terminal.

use std::io;
use std::process;

use nix::unistd::write;
use socketserver::{TraceLine, Tracer};

use super::watch::{Watch, watch};
use crate::standard_error::has_colours;

/// A tracer that prints each line, and what a thread can learn from the lines of this process.
pub fn tracer() -> (Tracer, Watch) {
    let has_colours = has_colours(&io::stdout());
    let (watched, watch) = watch();
    let server = process::id();
    let tracer = Tracer::new(move |line| {
        let text = match has_colours {
            true => coloured(line),
            false => line.to_string(),
        };
        // One write(2) without a lock, since the program may fork at any time. A reader who has
        // enough leaves, and the server goes on.
        let _ = write(io::stdout(), format!("{text}\n").as_bytes());
        // A child has a copy of the channel, which may have been in use at the fork.
        if process::id() == server {
            watched.note(line);
        }
    });
    (tracer, watch)
}

/// The line with the thread, the hook and the result in colours: the loop blue, a child yellow, and
/// another thread green.
fn coloured(line: &TraceLine) -> String {
    let thread = match line.thread.as_str() {
        "main" => 34,
        child if child.starts_with("child ") => 33,
        _ => 32,
    };
    let (name, indent) = (&line.thread, 2 * line.depth);
    let (layer, hook) = (&line.layer, line.hook);
    let begin = format!(
        "\x1b[{thread}m{name:15}\x1b[0m  {:indent$}{layer}.\x1b[1m{hook}\x1b[0m",
        ""
    );
    let arguments = line.arguments.as_ref().map(|it| format!("({it})"));
    let result = line
        .result
        .as_ref()
        .map(|it| format!(" -> \x1b[36m{it}\x1b[0m"));
    [Some(begin), arguments, result]
        .into_iter()
        .flatten()
        .collect()
}
