//! The servers.

mod go;
mod hyper;
mod nginx;
mod ours;
mod python;
mod tiny_http;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, ExitCode};

use clap::ValueEnum;
use measuring::{ServerProcess, build_socketserver, has_program};

use crate::site::Site;

/// The first argument that makes this program a server, whose name follows.
const SERVER_ARGUMENT: &str = "serve";

const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    /// Our `HttpHandler` under `ReactorMixIn`, and `socketserver serve http` for files
    Ours,
    /// hyper on tokio's multi-thread runtime with two workers
    Hyper,
    /// Go's net/http
    Go,
    /// tiny_http with eight threads
    TinyHttp,
    /// nginx with one worker
    Nginx,
    /// Python's `python3 -m http.server`
    Python,
}

/// What a server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Hello,
    Files,
}

impl Server {
    pub const fn title(self) -> &'static str {
        match self {
            Self::Ours => "`socketserver`",
            Self::Hyper => "hyper",
            Self::Go => "Go",
            Self::TinyHttp => "tiny_http",
            Self::Nginx => "nginx",
            Self::Python => "http.server",
        }
    }

    /// Builds what has to be built. False if the machine cannot run the server.
    pub fn prepare(self) -> io::Result<bool> {
        match self {
            Self::Ours => build_socketserver().map(|()| true),
            Self::Hyper | Self::TinyHttp => Ok(true),
            Self::Go => go::build(),
            Self::Nginx => Ok(has_program("nginx")),
            Self::Python => Ok(has_program("python3")),
        }
    }

    /// Runs the server in a process of its own.
    pub fn start(self, service: Service, site: &Site) -> io::Result<ServerProcess> {
        match (self, service) {
            (Self::Ours, Service::Files) => ours::start_command(site),
            (Self::Go, _) => ServerProcess::start(&mut Command::new(go::program()?)),
            (Self::Nginx, _) => nginx::start(site),
            (Self::Python, _) => python::start(site),
            (Self::Ours | Self::Hyper | Self::TinyHttp, _) => {
                let mut command = Command::new(std::env::current_exe()?);
                let name = self.to_possible_value().expect("no server is hidden");
                command.args([SERVER_ARGUMENT, name.get_name()]);
                ServerProcess::start(&mut command)
            }
        }
    }

    fn serve(self) -> io::Result<()> {
        match self {
            Self::Ours => ours::serve(),
            Self::Hyper => hyper::serve(),
            Self::TinyHttp => tiny_http::serve(),
            Self::Go | Self::Nginx | Self::Python => {
                Err(io::Error::other("the server is a program of its own"))
            }
        }
    }
}

/// Serves, if the arguments are those of [`Server::start`].
pub fn run(arguments: &[String]) -> Option<ExitCode> {
    let [argument, name] = arguments else {
        return None;
    };
    if argument != SERVER_ARGUMENT {
        return None;
    }
    let server = Server::from_str(name, false).map_err(io::Error::other);
    Some(match server.and_then(Server::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    })
}
