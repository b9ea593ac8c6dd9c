//! Programs in Go, which are built if there is a Go toolchain.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::Command;

/// Builds the program whose sources are in the directory `sources`. False if there is no Go
/// toolchain.
///
/// # Errors
///
/// If the toolchain cannot be run, or does not build the program.
pub fn build(sources: &str, program: &Path) -> io::Result<bool> {
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(program).arg(".");
    command.current_dir(sources);
    match command.output() {
        Ok(output) if output.status.success() => Ok(true),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(io::Error::other(format!("go build: {}", errors.trim_end())))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
