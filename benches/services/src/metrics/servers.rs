//! The servers, which answer a line or a datagram with the same bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command, ExitCode};

use clap::ValueEnum;
use measuring::{ServerProcess, announce};
use socketserver::{
    BaseServer, Error, Limits, Metrics, MetricsMixIn, ReactorMixIn, Serve, Server as RunningServer,
    TcpServer, UdpServer,
};
use socketserver_handlers::Echo;

use crate::loads::Load;

/// The first argument that makes this program a server, whose name and protocol follow.
const SERVER_ARGUMENT: &str = "serve";

const ANY_PORT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    Without,
    With,
}

impl Server {
    pub fn title(self) -> &'static str {
        match self {
            Self::Without => "without",
            Self::With => "with `MetricsMixIn`",
        }
    }

    /// Runs the server for a load in a process of its own.
    pub fn start(self, load: Load) -> io::Result<ServerProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = self.to_possible_value().expect("no server is hidden");
        command.args([SERVER_ARGUMENT, name.get_name(), load.protocol()]);
        ServerProcess::start(&mut command)
    }
}

/// Serves, if the arguments are those of [`Server::start`].
pub fn run(arguments: &[String]) -> Option<ExitCode> {
    let [argument, name, protocol] = arguments else {
        return None;
    };
    if argument != SERVER_ARGUMENT {
        return None;
    }
    let server = Server::from_str(name, false).map_err(io::Error::other);
    Some(
        match server.and_then(|server| serve_with(server, protocol)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{name}: {error}");
                ExitCode::FAILURE
            }
        },
    )
}

fn serve_with(server: Server, protocol: &str) -> io::Result<()> {
    let metrics = Metrics::new();
    let tcp = || TcpServer::new(ANY_PORT, || Echo).mix_in(ReactorMixIn::new);
    let udp = || UdpServer::new(ANY_PORT, || Echo);
    match (server, protocol) {
        (Server::Without, "tcp") => serve(tcp().bind()),
        (Server::With, "tcp") => serve(tcp().mix_in(|it| MetricsMixIn::new(it, &metrics)).bind()),
        (Server::Without, _) => serve(udp().bind()),
        (Server::With, _) => serve(udp().mix_in(|it| MetricsMixIn::new(it, &metrics)).bind()),
    }
}

fn serve<S: BaseServer>(server: Result<RunningServer<S>, Error>) -> io::Result<()> {
    let server = server.map_err(io::Error::other)?;
    let handle = server.handle();
    handle.set_limits(Limits::none());
    let address = server.local_addr().expect("it is bound to an IP address");
    announce(address, move || handle.request_shutdown())?;
    server.serve_forever().map_err(io::Error::other)
}
