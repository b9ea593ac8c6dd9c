//! Go's server, which is built if there is a Go toolchain.

use std::env;
use std::io;
use std::path::PathBuf;

/// Where [`build`] puts the program: beside this one.
pub fn program() -> io::Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name("reactor-bench-go"))
}

/// Builds the program. False if there is no Go toolchain.
pub fn build() -> io::Result<bool> {
    measuring::build_go(concat!(env!("CARGO_MANIFEST_DIR"), "/go"), &program()?)
}
