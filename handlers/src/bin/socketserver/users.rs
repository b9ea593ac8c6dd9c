//! `socketserver users`: the accounts of the file service.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use socketserver_handlers::files::{AccountFile, AccountsError};
use socketserver_handlers::password::StoredPassword;

use crate::amounts::{large_size, shown_size};
use crate::failure::{Failure, Problem};
use crate::passwords;
use crate::standard_streams;

/// What to do with the accounts.
#[derive(Debug, Args)]
#[command(subcommand_value_name = "WHAT", subcommand_help_heading = "What to do")]
pub struct Options {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Adds a user, whose password the command asks for
    Add {
        #[command(flatten)]
        user: User,

        /// How many bytes the files of the user may have, such as 500MiB [default: that of the
        /// service]
        #[arg(long, value_name = "SIZE", value_parser = large_size)]
        quota: Option<u64>,
    },
    /// Sets a new password of a user, and ends the sessions of the user
    Passwd {
        #[command(flatten)]
        user: User,
    },
    /// Sets the quota of a user, for sessions that begin later
    Quota {
        #[command(flatten)]
        user: User,

        /// How many bytes the files of the user may have, such as 2GiB, or "none"
        ///
        /// A number of bytes, or of KiB, MiB, GiB or TiB. With "none" the account has no quota of
        /// its own, and that of the service holds.
        #[arg(value_name = "SIZE", value_parser = quota)]
        quota: Quota,
    },
    /// Removes a user, and ends the sessions of the user; the files stay
    Remove {
        #[command(flatten)]
        user: User,
    },
    /// Lists the users with their quotas
    List {
        #[command(flatten)]
        file: UsersFile,
    },
}

#[derive(Debug, Args)]
struct User {
    /// Name of the user, and of the directory with the files of the user
    name: String,

    #[command(flatten)]
    file: UsersFile,
}

#[derive(Debug, Args)]
struct UsersFile {
    /// File of the accounts, which is made if it does not exist
    #[arg(long = "users", value_name = "FILE")]
    path: PathBuf,
}

/// A quota that may be none.
#[derive(Debug, Clone, Copy)]
struct Quota(Option<u64>);

fn quota(text: &str) -> Result<Quota, String> {
    match text {
        "none" => Ok(Quota(None)),
        text => Ok(Quota(Some(large_size(text)?))),
    }
}

/// Changes or lists the accounts. A password is asked for without an echo, or else is the first
/// line of standard input.
pub fn run(options: &Options) -> Result<(), Failure> {
    match &options.task {
        Task::Add { user, quota } => {
            // This check comes first, so that nobody types a password in vain.
            match user.accounts().table() {
                Ok(table) if table.contains_key(&user.name) => {
                    return Err(failed(AccountsError::Exists(user.name.clone())));
                }
                _ => {}
            }
            let added = user.accounts().add(&user.name, &password()?, *quota);
            added.map_err(failed)
        }
        Task::Passwd { user } => {
            let table = user.accounts().table().map_err(failed)?;
            if !table.contains_key(&user.name) {
                return Err(failed(AccountsError::Unknown(user.name.clone())));
            }
            let set = user.accounts().set_password(&user.name, &password()?);
            set.map_err(failed)
        }
        Task::Quota { user, quota } => {
            let set = user.accounts().set_quota(&user.name, quota.0);
            set.map_err(failed)
        }
        Task::Remove { user } => user.accounts().remove(&user.name).map_err(failed),
        Task::List { file } => list(file),
    }
}

impl User {
    fn accounts(&self) -> AccountFile {
        AccountFile::new(&self.file.path)
    }
}

fn list(file: &UsersFile) -> Result<(), Failure> {
    let table = AccountFile::new(&file.path).table().map_err(failed)?;
    let lines = table
        .into_iter()
        .map(|(name, account)| match account.quota {
            Some(quota) => format!("{name}  {}\n", shown_size(quota)),
            None => format!("{name}\n"),
        });
    let printed = standard_streams::print(String::from_iter(lines));
    printed.map_err(|error| Failure::Here(Problem::Output(error)))
}

fn password() -> Result<StoredPassword, Failure> {
    let stored = StoredPassword::new(passwords::new()?);
    stored.map_err(|error| Failure::Files(error.to_string()))
}

fn failed(error: AccountsError) -> Failure {
    Failure::Files(error.to_string())
}
