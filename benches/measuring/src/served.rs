//! The server's side of a process that is measured.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;

/// Writes the address to the benchmark, and ends this process when the benchmark has ended, however
/// that ends: then standard input ends. A byte on standard input is a request to stop.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn announce(address: SocketAddr, stop: impl Fn() + Send + 'static) -> io::Result<()> {
    thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {
            stop();
        }
        std::process::exit(0);
    });
    let mut stdout = io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}

/// For servers that know no drain.
pub fn end_at_once() {
    std::process::exit(0);
}
