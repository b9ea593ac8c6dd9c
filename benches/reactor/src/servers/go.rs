//! Go's server, which is built if there is a Go toolchain.

use std::env;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::Command;

/// Where [`build`] puts the program: beside this one.
pub fn program() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("reactor-bench-go"))
}

/// Builds the program. False if there is no Go toolchain.
pub fn build() -> io::Result<bool> {
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(program()?).arg(".");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go"));
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
