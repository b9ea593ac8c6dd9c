//! The servers, and their clients.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use measuring::{ServerProcess, free_port, has_program, peer_command, socketserver_command};
use nix::unistd::{User, geteuid};

use crate::transfers::{Load, Material};

/// The user of the file service.
pub const USER: &str = "ada";

const PASSWORD: &str = "correct horse battery staple";

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Server {
    Ours,
    Ftp,
    Scp,
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    server: Server,
    process: ServerProcess,
    /// The files that its clients need.
    own: PathBuf,
}

impl Server {
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "`socketserver`",
            Self::Ftp => "vsftpd",
            Self::Scp => "scp",
        }
    }

    pub fn is_installed(self) -> bool {
        match self {
            Self::Ours => true,
            Self::Ftp => has_program("vsftpd") && has_program("curl"),
            Self::Scp => ["sshd", "ssh-keygen", "scp"].into_iter().all(has_program),
        }
    }

    pub fn start(self, material: &Material) -> io::Result<Running> {
        let address = free_port()?;
        let own = material.own().to_owned();
        let mut command = match self {
            Self::Ours => {
                let users = own.join("users");
                if !users.exists() {
                    add_user(&users, &own)?;
                }
                fs::create_dir_all(material.homes().join(USER))?;
                let mut command = socketserver_command()?;
                command.args(["serve", "files", "--listen", &format!("tcp://{address}")]);
                command.arg("--root").arg(material.homes());
                command.arg("--users").arg(users);
                command
            }
            Self::Ftp => {
                let root = material.homes().join("ftp");
                fs::create_dir(&root)?;
                let file = own.join("vsftpd.conf");
                fs::write(&file, ftp_configuration(address.port(), &root)?)?;
                let mut command = peer_command("vsftpd");
                command.arg(file);
                command
            }
            Self::Scp => {
                fs::create_dir(material.homes().join("scp"))?;
                make_key(&own.join("host_key"))?;
                make_key(&own.join("client_key"))?;
                let file = own.join("sshd.conf");
                fs::write(&file, ssh_configuration(address.port(), &own))?;
                // sshd wants its absolute path, since it executes itself anew.
                let mut command = peer_command("/usr/sbin/sshd");
                command.args(["-D", "-e", "-f"]).arg(file);
                command
            }
        };
        let process = ServerProcess::start_at(&mut command, address)?;
        Ok(Running {
            server: self,
            process,
            own,
        })
    }
}

impl Running {
    pub fn server(&self) -> Server {
        self.server
    }

    pub fn process(&self) -> &ServerProcess {
        &self.process
    }

    /// The directory in which the server has what clients put.
    pub fn stored(&self, material: &Material) -> PathBuf {
        material.homes().join(match self.server {
            Server::Ours => USER,
            Server::Ftp => "ftp",
            Server::Scp => "scp",
        })
    }

    /// The command that does a transfer.
    pub fn client(&self, load: Load, material: &Material) -> io::Result<Command> {
        let (large, many) = (material.large(), material.many());
        let received = material.received();
        match self.server {
            Server::Ours => match load {
                Load::PutLarge => self.put(&[], &large),
                Load::PutMany => self.put(&["-r"], &many),
                Load::GetLarge => self.get("large.bin", &received.join("large.bin")),
                Load::GetMany => {
                    let mut command = self.get("many", &received.join("many"))?;
                    command.arg("-r");
                    Ok(command)
                }
            },
            Server::Ftp => self.curl(load, material),
            Server::Scp => {
                let stored = self.stored(material);
                let remote = |name: &str| format!("127.0.0.1:{}", stored.join(name).display());
                let mut command = self.scp();
                match load {
                    Load::PutLarge => command.arg(large).arg(remote("large.bin")),
                    Load::GetLarge => command.arg(remote("large.bin")).arg(&received),
                    Load::PutMany => command.arg("-r").arg(many).arg(remote("many")),
                    Load::GetMany => command.arg("-r").arg(remote("many")).arg(&received),
                };
                Ok(command)
            }
        }
    }

    /// Our client gets a file.
    fn get(&self, name: &str, target: &Path) -> io::Result<Command> {
        let mut command = self.login(USER, &self.own.join("password"))?;
        command.args(["get", name]).arg(target);
        Ok(command)
    }

    fn put(&self, options: &[&str], source: &Path) -> io::Result<Command> {
        let mut command = self.login(USER, &self.own.join("password"))?;
        command.arg("put").args(options).arg(source);
        Ok(command)
    }

    /// Our client, which logs in and reads commands.
    pub fn session(&self) -> io::Result<Command> {
        let mut command = self.login(USER, &self.own.join("password"))?;
        command.stdin(Stdio::piped());
        Ok(command)
    }

    /// Our client, which logs in and does nothing unless a command follows.
    pub fn login(&self, user: &str, password: &Path) -> io::Result<Command> {
        let mut command = socketserver_command()?;
        let url = format!("tcp://{}", self.process.address());
        command.args(["client", "files", "--quiet", "--user", user]);
        command.arg("--password-file").arg(password).arg(url);
        command.stdin(Stdio::null());
        Ok(command)
    }

    fn curl(&self, load: Load, material: &Material) -> io::Result<Command> {
        let url = format!("ftp://{}/large.bin", self.process.address());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error"]);
        match load {
            Load::PutLarge => command.arg("-T").arg(material.large()),
            Load::GetLarge => command.arg("-o").arg(material.received().join("large.bin")),
            Load::PutMany | Load::GetMany => {
                return Err(io::Error::other("curl transfers one file"));
            }
        };
        command.arg(url);
        Ok(command)
    }

    fn scp(&self) -> Command {
        let mut command = Command::new("scp");
        let port = self.process.address().port().to_string();
        command.args(["-q", "-F", "/dev/null", "-P", &port, "-i"]);
        command.arg(self.own.join("client_key"));
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
        ] {
            command.args(["-o", option]);
        }
        command
    }
}

/// Makes the account, and the files with its password and with a wrong one.
fn add_user(users: &Path, own: &Path) -> io::Result<()> {
    fs::write(own.join("password"), format!("{PASSWORD}\n"))?;
    fs::write(own.join("wrong"), "wrong\n")?;
    let mut command = socketserver_command()?;
    command.args(["users", "add", USER, "--users"]).arg(users);
    succeed(command.stdin(fs::File::open(own.join("password"))?))
}

/// Everybody may put and get, so that no password is checked: the transfers are compared.
fn ftp_configuration(port: u16, root: &Path) -> io::Result<String> {
    let user = User::from_uid(geteuid())?;
    let user = user
        .ok_or_else(|| io::Error::other("the user has no name"))?
        .name;
    let root = root.display();
    Ok(format!(
        "listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
run_as_launching_user=YES
ftp_username={user}
anonymous_enable=YES
no_anon_password=YES
anon_root={root}
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
anon_world_readable_only=NO
write_enable=YES
allow_writeable_chroot=YES
connect_from_port_20=NO
seccomp_sandbox=NO
one_process_model=NO
"
    ))
}

fn ssh_configuration(port: u16, own: &Path) -> String {
    let own = own.display();
    format!(
        "ListenAddress 127.0.0.1
Port {port}
HostKey {own}/host_key
AuthorizedKeysFile {own}/client_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
"
    )
}

fn make_key(file: &Path) -> io::Result<()> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(file);
    succeed(&mut command)
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("{command:?} ended with {status}"))),
    }
}
