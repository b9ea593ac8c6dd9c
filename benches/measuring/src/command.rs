//! The command `socketserver`, which is built beside the benchmark.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::peer::peer_command;

/// Builds the command with all its features, optimised as the benchmark is.
///
/// # Errors
///
/// If cargo cannot be run, or does not build the command.
pub fn build_socketserver() -> io::Result<()> {
    let own = env::current_exe()?;
    let target = own.ancestors().nth(2);
    let target = target.ok_or_else(|| io::Error::other("the benchmark is not below target"))?;
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // The libraries of the benchmark, so that they are not compiled again with other features.
    command.args(["build", "--quiet"]);
    command.args([
        "--package",
        "services-bench",
        "--package",
        "socketserver-handlers",
    ]);
    command.args(["--bin", "socketserver"]);
    command.arg("--target-dir").arg(target);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let status = command.status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other("cargo build: the command socketserver")),
    }
}

/// A call of the command that [`build_socketserver`] has built, which logs warnings and errors.
///
/// # Errors
///
/// If the benchmark's own path is not known.
pub fn socketserver_command() -> io::Result<Command> {
    let mut command = peer_command(program()?);
    command.env("RUST_LOG", "warn");
    Ok(command)
}

fn program() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("socketserver"))
}
