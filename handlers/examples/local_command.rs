//! A local command: runs a line in the shell, and shows its two outputs apart.
//!
//! `cargo run -p socketserver-handlers --example local_command -- 'ls /; ls /nowhere'`
//!
//! The remote shells of this package run their clients' commands in the same way: both outputs are
//! read at once. A command that does not end, or writes without end, is ended with everything that
//! it has started, and the last line has the reason.

use std::io::{self, Write};

use socketserver_handlers::shell::{Limits, run};

/// The two outputs of a line, each under its name.
fn shown(line: &str, limits: &Limits) -> Vec<u8> {
    let [stderr, stdout] = run(line.as_bytes(), limits, None).into_parts();
    let mut shown = b"standard error:\n".to_vec();
    shown.extend(stderr);
    shown.extend(b"standard output:\n");
    shown.extend(stdout);
    shown
}

fn main() -> io::Result<()> {
    let line = Vec::from_iter(std::env::args().skip(1)).join(" ");
    let line = if line.is_empty() {
        "ls /; ls /nowhere"
    } else {
        &line
    };
    io::stdout().write_all(&shown(line, &Limits::default()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(line: &str, limits: &Limits) -> String {
        String::from_utf8(shown(line, limits)).unwrap()
    }

    #[test]
    fn the_two_outputs_are_shown_apart() {
        let shown = text("echo out; echo err >&2; echo out again", &Limits::default());
        assert_eq!(
            shown,
            "standard error:\nerr\nstandard output:\nout\nout again\n"
        );
    }

    #[test]
    fn a_command_that_fills_one_output_before_the_other_does_not_hang() {
        let shown = text(
            "head -c 1000000 /dev/zero >&2; echo done",
            &Limits::default(),
        );
        assert!(shown.ends_with("standard output:\ndone\n"));
    }

    #[test]
    fn a_command_that_does_not_end_is_ended() {
        let limits = Limits {
            timeout: Duration::from_millis(50),
            ..Limits::default()
        };
        let shown = text("echo before; sleep 1000", &limits);
        assert!(
            shown.contains("before\n[ended: it ran for more than 50ms]"),
            "{shown}"
        );
    }
}
