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
    /// Where the server is: tcp://HOST:PORT or unix:///PATH
    ///
    /// The default is the handler's own address, which "socketserver list" shows.
    pub url: Option<Url>,

    /// The name of the user
    #[arg(long, value_name = "NAME")]
    pub user: String,

    /// The file whose first line is the password; the terminal is asked for it unless set
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// Send the password also over a connection to another machine that is not encrypted
    ///
    /// Whoever is between client and server can read the password and all files.
    #[arg(long)]
    pub allow_plain_passwords: bool,

    /// The hash that verifies transfers; the tutorial's is md5
    #[arg(long, value_name = "DIGEST", default_value = "sha256",
        value_parser = ["sha256", "md5"])]
    pub digest: String,

    /// How often a broken connection is made anew, without a byte of progress in between
    ///
    /// The transfer goes on where it was. The client waits for 1, 2, 4 seconds and so on, at most
    /// for 30.
    #[arg(long, value_name = "N", default_value = "5")]
    pub retries: u32,

    /// How long the server may be silent, or take nothing, in the middle of something
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    pub timeout: Duration,

    /// Go on after a command of standard input that has failed; the exit status is still 1
    #[arg(long = "continue")]
    pub goes_on: bool,

    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,

    #[command(flatten)]
    pub link: LinkOptions,

    /// The commands come from standard input without this one, with a prompt in a terminal
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// A command of the user, on the command line or in a line of its own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists a directory: kind, size, time and name
    Ls {
        /// The directory: the current one unless set
        path: Option<OsString>,
    },
    /// Changes the directory of the server: to the home unless set
    Cd {
        /// The new directory
        path: Option<OsString>,
    },
    /// Shows the directory of the server
    Pwd,
    /// Changes the directory here, for local names
    Lcd {
        /// The new directory
        path: PathBuf,
    },
    /// Makes directories
    Mkdir {
        /// The directories
        #[arg(required = true)]
        paths: Vec<OsString>,
    },
    /// Removes files, links and empty directories
    Rm {
        /// What to remove
        #[arg(required = true)]
        paths: Vec<OsString>,
    },
    /// Renames a file or directory
    Mv {
        /// Replace the new name if it exists
        #[arg(long, short = 'f')]
        replace: bool,
        /// The old name
        from: OsString,
        /// The new name, or a directory into which the old name goes
        to: OsString,
    },
    /// Gets files: REMOTE [LOCAL], or several and the directory for them
    Get(Transfer),
    /// Puts files: LOCAL [REMOTE], or several and the directory for them
    Put(Transfer),
    /// Sums the files of a directory, and shows quota and free space
    Du {
        /// The directory: the current one unless set
        path: Option<OsString>,
    },
    /// Ends the session
    #[command(alias = "exit")]
    Quit,
}

/// The names of a transfer.
#[derive(Debug, Args)]
pub struct Transfer {
    /// Transfer directories with all that is in them
    #[arg(long, short)]
    pub recursive: bool,

    /// Replace files that exist
    #[arg(long, short = 'f')]
    pub replace: bool,

    /// The source and, unless it keeps its name, the target; or sources and a directory
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
