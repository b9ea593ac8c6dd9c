//! nginx with one worker, and a configuration of its own.

use std::fs;
use std::io;

use measuring::{ServerProcess, free_port, peer_command};

use crate::site::Site;

pub fn start(site: &Site) -> io::Result<ServerProcess> {
    let address = free_port()?;
    let own = site.own().display();
    let root = site.root();
    let root = root.display();
    let configuration = format!(
        "daemon off;
worker_processes 1;
pid {own}/nginx.pid;
error_log {own}/nginx.log;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen {address};
        root {root};
    }}
}}
"
    );
    // The superuser's worker would be another user, who may not read the directory.
    let user = match nix::unistd::geteuid().is_root() {
        true => "user root;\n",
        false => "",
    };
    let file = site.own().join("nginx.conf");
    fs::write(&file, format!("{user}{configuration}"))?;
    let mut command = peer_command("nginx");
    command.arg("-c").arg(file).arg("-p").arg(site.own());
    ServerProcess::start_at(&mut command, address)?.with_workers()
}
