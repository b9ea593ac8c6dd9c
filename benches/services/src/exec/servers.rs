//! The servers, each of which runs a program for each connection.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use measuring::{ServerProcess, free_port, has_program, peer_command, socketserver_command};
use nix::unistd::{User, geteuid};

use crate::alone;

/// More connections than there ever are.
const NO_LIMIT: usize = 1000;

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    Ours,
    Tcpserver,
    Tcpsvd,
    Socat,
    Ncat,
    Xinetd,
    Inetd,
    /// The limit of what a server can gain.
    Alone,
}

/// What is run for each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Cat,
    True,
    Python,
}

impl Program {
    /// The program by its path, and its arguments.
    pub fn words(self) -> io::Result<Vec<String>> {
        let find = |name: &str| {
            let paths = std::env::var_os("PATH").unwrap_or_default();
            let mut directories = std::env::split_paths(&paths);
            let path = directories.find_map(|it| Some(it.join(name)).filter(|it| it.is_file()));
            let path = path.ok_or_else(|| io::Error::other(format!("there is no {name}")))?;
            Ok::<_, io::Error>(path.to_string_lossy().into_owned())
        };
        Ok(match self {
            Self::Cat => vec![find("cat")?],
            Self::True => vec![find("true")?],
            // No modules of the user, which take longer than Python itself.
            Self::Python => {
                let python = python()?;
                vec![
                    python,
                    "-IS".to_owned(),
                    "-c".to_owned(),
                    "print(7)".to_owned(),
                ]
            }
        })
    }
}

/// The interpreter itself: a wrapper that chooses a version would be most of the time.
fn python() -> io::Result<String> {
    let script = "import sys; print(sys.executable)";
    let output = Command::new("python3").args(["-c", script]).output()?;
    let path = String::from_utf8(output.stdout).map_err(io::Error::other)?;
    Ok(path.trim_end().to_owned())
}

impl Server {
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "`socketserver`",
            Self::Tcpserver => "tcpserver",
            Self::Tcpsvd => "tcpsvd",
            Self::Socat => "socat",
            Self::Ncat => "ncat",
            Self::Xinetd => "xinetd",
            Self::Inetd => "inetutils-inetd",
            Self::Alone => "posix_spawn alone",
        }
    }

    /// Whether the server has a limit of connections at a time.
    pub fn has_limit(self) -> bool {
        !matches!(self, Self::Inetd | Self::Alone)
    }

    pub fn is_installed(self) -> bool {
        match self {
            Self::Ours | Self::Alone => true,
            _ => has_program(self.title()),
        }
    }

    /// Runs the server, which serves at most `limit` connections at a time if it has a limit.
    pub fn start(
        self,
        program: Program,
        limit: Option<usize>,
        directory: &Path,
    ) -> io::Result<ServerProcess> {
        let address = free_port()?;
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let words = program.words()?;
        let limit = limit.unwrap_or(NO_LIMIT).to_string();
        let mut command = match self {
            Self::Ours => socketserver_command()?,
            Self::Alone => alone::command(&words)?,
            _ => peer_command(self.title()),
        };
        match self {
            Self::Ours => {
                command.args(["exec", "--listen", &format!("tcp://{address}")]);
                command
                    .args(["--max-connections", &limit, "--"])
                    .args(words);
            }
            // The server takes a port itself.
            Self::Alone => return ServerProcess::start(&mut command),
            Self::Tcpserver => {
                // No names by DNS, and none by ident.
                command.args(["-q", "-H", "-R", "-l", "0", "-b", "128", "-c", &limit]);
                command.args([&host, &port]).args(words);
            }
            Self::Tcpsvd => {
                // No name of the client by DNS without `-h`, and none of the server with `-l`.
                command.args(["-l", "0", "-b", "128", "-c", &limit]);
                command.args([&host, &port]).args(words);
            }
            Self::Socat => {
                let listen = format!(
                    "TCP-LISTEN:{port},bind={host},fork,reuseaddr,backlog=128,max-children={limit}"
                );
                command.args([listen, format!("EXEC:{}", words.join(" "))]);
            }
            Self::Ncat => {
                command.args(["-l", "-k", "-m", &limit]);
                command.args(["-e", &words.join(" ")]).args([&host, &port]);
            }
            Self::Xinetd => {
                let file = directory.join(format!("xinetd-{port}.conf"));
                fs::write(&file, xinetd_configuration(&host, &port, &words, &limit)?)?;
                command.args(["-dontfork", "-stayalive", "-f"]).arg(file);
                command.arg("-filelog");
                command.arg(directory.join(format!("xinetd-{port}.log")));
                command.arg("-pidfile");
                command.arg(directory.join(format!("xinetd-{port}.pid")));
            }
            Self::Inetd => {
                let file = directory.join(format!("inetd-{port}.conf"));
                fs::write(&file, inetd_configuration(&host, &port, &words)?)?;
                // In the foreground, without a limit per minute, and without a file of the pid.
                command.args(["-d", "-R", "1000000000", "-p"]).arg(file);
            }
        }
        ServerProcess::start_at(&mut command, address)
    }
}

fn xinetd_configuration(
    host: &str,
    port: &str,
    words: &[String],
    limit: &str,
) -> io::Result<String> {
    let user = user()?;
    let (program, arguments) = words.split_first().expect("the program is a word");
    let arguments = match arguments {
        // A line without a value is an error.
        [] => String::new(),
        arguments => format!("    server_args = {}\n", arguments.join(" ")),
    };
    Ok(format!(
        "service bench
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    wait = no
    user = {user}
    bind = {host}
    port = {port}
    server = {program}
{arguments}    instances = {limit}
    per_source = UNLIMITED
    cps = 1000000 1
}}
"
    ))
}

/// A line of the service, whose fields have spaces between them.
fn inetd_configuration(host: &str, port: &str, words: &[String]) -> io::Result<String> {
    let user = user()?;
    // The program by its path, and then its arguments, of which the first is its own name.
    let (program, arguments) = (&words[0], words.join(" "));
    Ok(format!(
        "{host}:{port} stream tcp nowait {user} {program} {arguments}\n"
    ))
}

/// The name of the user, as whom the programs run too.
fn user() -> io::Result<String> {
    let user = User::from_uid(geteuid())?;
    let user = user.ok_or_else(|| io::Error::other("the user has no name"))?;
    Ok(user.name)
}
