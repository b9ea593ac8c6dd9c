//! Programs of others, which may not be installed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs a program to its end, which has to be a success. `None` if the program cannot be run: then
/// the test prints that it skips.
pub fn run(command: &mut Command, input: &[u8]) -> Option<Output> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            println!(
                "skipped: {:?} cannot be run: {error}",
                command.get_program()
            );
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    Some(output)
}
