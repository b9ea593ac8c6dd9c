//! Programs of others, which take an address and announce none.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

/// Returns whether a server is measured. A server that is not installed is reported as skipped.
pub fn is_measured(title: &str, is_installed: bool) -> bool {
    if !is_installed {
        eprintln!("{title} is skipped: it is not installed");
    }
    is_installed
}

/// A command that ends with the benchmark, however that ends.
#[must_use]
pub fn peer_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Whether the machine has a program.
#[must_use]
pub fn has_program(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where an ordinary user's PATH does not lead.
    let mut directories = std::env::split_paths(&paths).chain(["/usr/sbin".into()]);
    directories.any(|directory| directory.join(program).is_file())
}

/// An address of the loopback whose port is free. Another process may take the port before a
/// server does, and then the server does not start.
///
/// # Errors
///
/// If there is no port.
pub fn free_port() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
