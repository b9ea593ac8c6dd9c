//! The options and commands of the file client.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::super::link_options::LinkOptions;
use crate::amounts::seconds;
use crate::url::Url;

/// The options of `client files`.
#[derive(Debug, Args)]
#[command(
    subcommand_value_name = "COMMAND",
    subcommand_help_heading = "Commands"
)]
#[command(disable_help_subcommand = true)]
pub struct Files {
    /// Address of the server: tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH
    ///
    /// The default is the handler's own address, which "socketserver list" shows.
    pub url: Option<Url>,

    /// Name of the user
    #[arg(long, value_name = "NAME")]
    pub user: String,

    /// File whose first line is the password
    ///
    /// Without this option the client asks for the password at the terminal.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Send the password to another machine over a connection that is not encrypted
    ///
    /// Everybody between client and server can read the password and all files.
    #[arg(long)]
    pub allow_plain_passwords: bool,

    /// Hash function that verifies transfers
    ///
    /// The tutorial's is md5.
    #[arg(long, value_name = "DIGEST", default_value = "sha256",
        value_parser = ["sha256", "md5"])]
    pub digest: String,

    /// How often the client tries again after a failure that may pass
    ///
    /// Such a failure is a broken connection, a name that is busy, a file that changes while the
    /// server sends it, or a download with a wrong hash. After a broken connection the transfer
    /// continues where it was, and the count begins again if a byte of the transfer has moved over
    /// that connection. The other failures are always counted. The client waits for 1, 2, 4 seconds
    /// and so on before it tries again, and at most for 30.
    #[arg(long, value_name = "N", default_value = "5")]
    pub retries: u32,

    /// How long the server may send and accept nothing when the client waits for it, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub timeout: Duration,

    /// Continue after a command of standard input has failed; the exit status is still 1
    #[arg(long = "continue")]
    pub goes_on: bool,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,

    #[command(flatten)]
    pub link: LinkOptions,

    /// A command; without it the client reads commands from standard input
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command of the user, on the command line or in a line of its own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists a directory: kind, size, time and name
    Ls {
        /// Directory [default: the current one]
        path: Option<OsString>,
    },
    /// Changes the current directory at the server
    Cd {
        /// New directory [default: the home]
        path: Option<OsString>,
    },
    /// Prints the current directory at the server
    Pwd,
    /// Changes the current directory of the client, for local names
    Lcd {
        /// New directory
        path: PathBuf,
    },
    /// Creates directories
    Mkdir {
        /// Directories to create
        #[arg(required = true)]
        paths: Vec<OsString>,
    },
    /// Removes files, links and empty directories
    Rm {
        /// Names to remove
        #[arg(required = true)]
        paths: Vec<OsString>,
    },
    /// Renames a file or directory
    Mv {
        /// Replace the new name if it exists
        #[arg(long, short = 'f')]
        replace: bool,
        /// Old name
        from: OsString,
        /// New name, or a directory that takes the file under its old name
        to: OsString,
    },
    /// Gets files from the server: REMOTE [LOCAL], or several files and a local directory
    Get(Transfer),
    /// Puts files on the server: LOCAL [REMOTE], or several files and a directory there
    Put(Transfer),
    /// Adds up the sizes of the files in a directory, and prints quota and free space
    Du {
        /// Directory [default: the current one]
        path: Option<OsString>,
    },
    /// Ends the session
    #[command(alias = "exit")]
    Quit,
}

/// The names of a transfer.
#[derive(Debug, Args)]
pub struct Transfer {
    /// Transfer directories with everything in them
    #[arg(long, short)]
    pub recursive: bool,

    /// Replace files that exist
    #[arg(long, short = 'f')]
    pub replace: bool,

    /// Source, and the target if its name differs; or several sources and a directory
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<OsString>,
}

impl Transfer {
    /// The sources, and the target if there is one.
    pub fn sources_and_target(&self) -> (&[OsString], Option<&OsString>) {
        match self.names.split_last() {
            Some((target, sources)) if !sources.is_empty() => (sources, Some(target)),
            _ => (&self.names, None),
        }
    }
}

/// A line of the user.
#[derive(Debug, Parser)]
#[command(
    name = "",
    no_binary_name = true,
    disable_version_flag = true,
    override_usage = "COMMAND [NAME…]",
    help_template = "{subcommands}"
)]
pub struct Line {
    #[command(subcommand)]
    pub command: Command,
}
