//! Python's `python3 -m http.server`, as people run it: with HTTP/1.0 it closes each connection.

use std::io;

use measuring::{ServerProcess, free_port, peer_command};

use crate::site::Site;

pub fn start(site: &Site) -> io::Result<ServerProcess> {
    let address = free_port()?;
    let mut command = peer_command("python3");
    command.args(["-m", "http.server", "--bind", &address.ip().to_string()]);
    command.arg("--directory").arg(site.root());
    command.arg(address.port().to_string());
    ServerProcess::start_at(&mut command, address)
}
