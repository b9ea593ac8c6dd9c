//! The options of the file service.

use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches};
use socketserver::StreamRequest;
use socketserver_handlers::files::{FileService, FileSession};

use crate::amounts::large_size;
use crate::factory::Factory;
use crate::failure::Failure;
use crate::remote;
use crate::url::Url;

/// The options that only the file service has.
#[derive(Debug, Args)]
pub struct FilesOptions {
    /// Directory of the homes: one directory for each user, which is made at the first login
    #[arg(long, value_name = "DIR")]
    root: PathBuf,

    /// File of the accounts, which "socketserver users" writes; a change takes effect at once
    #[arg(long, value_name = "FILE")]
    users: PathBuf,

    /// How many bytes the files of a user may have, such as 2GiB [default: no quota]
    ///
    /// A number of bytes, or of KiB, MiB, GiB or TiB. "socketserver users quota" sets another quota
    /// for a single account, which replaces this one.
    #[arg(long, value_name = "SIZE", value_parser = large_size)]
    quota: Option<u64>,

    /// Accept passwords from other machines over connections that are not encrypted
    ///
    /// Everybody between client and server can read the passwords and all files. With --tls-cert
    /// this option has no effect.
    #[arg(long)]
    allow_plain_passwords: bool,
}

impl FilesOptions {
    /// The handlers of a service with these options. `plain` is the URL of the server if what
    /// clients send there is not encrypted.
    ///
    /// # Errors
    ///
    /// If a password could be read on its way, or the service cannot use its files.
    pub fn factory(
        matches: &ArgMatches,
        plain: Option<&Url>,
    ) -> Result<Factory<StreamRequest>, Failure> {
        let options = Self::from_arg_matches(matches)?;
        if let Some(url) = plain.filter(|_| !options.allow_plain_passwords) {
            remote::permit_passwords(url)?;
        }
        let service = FileService::new(&options.root, &options.users);
        let mut service = service.map_err(|error| Failure::Files(error.to_string()))?;
        if let Some(bytes) = options.quota {
            service = service.quota(bytes);
        }
        if options.allow_plain_passwords {
            service = service.allow_plain_passwords();
        }
        Ok(Box::new(move || {
            Box::new(FileSession::new(service.clone()))
        }))
    }
}
