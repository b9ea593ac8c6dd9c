//! The options of the files over HTTP.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use socketserver::StreamRequest;
use socketserver_handlers::http::{AccessLog, Http, HttpLimits, StaticFiles};

use crate::factory::Factory;
use crate::failure::Failure;
use crate::watched::Watched;

/// Which files are served, and how.
#[derive(Debug, Args)]
pub struct HttpOptions {
    /// Directory whose files are served
    ///
    /// A file outside of the directory is never served, even if a link leads there. A name that
    /// begins with a dot is not served either. The directory may be replaced while the server runs.
    #[arg(
        long,
        visible_alias = "directory",
        value_name = "DIR",
        default_value = "."
    )]
    root: PathBuf,

    /// Serve NAME.br or NAME.gz in place of NAME, if the file exists and the client accepts it
    #[arg(long)]
    precompressed: bool,

    /// Serve the root's index.html for a page that does not exist
    ///
    /// For an application of one page, whose script makes the pages. A missing path with an
    /// extension, such as /app.js, is still answered with status 404.
    #[arg(long)]
    spa: bool,

    /// Let the scripts of every web site read the files
    ///
    /// Each answer has the header "Access-Control-Allow-Origin: *".
    #[arg(long)]
    cors: bool,

    /// File to which a line for each request is appended, in the common log format
    ///
    /// Without this option the lines are in the log on standard error. SIGHUP opens the file again,
    /// after a rename for example, and does not stop the server. If that fails, the lines go on
    /// into the file from before.
    #[arg(long, value_name = "FILE")]
    access_log: Option<LogFile>,
}

/// The file of the access log. All clones share the open file.
#[derive(Debug, Clone)]
struct LogFile {
    path: PathBuf,
    opened: Arc<OnceLock<AccessLog>>,
}

impl From<OsString> for LogFile {
    fn from(path: OsString) -> Self {
        Self {
            path: path.into(),
            opened: Arc::default(),
        }
    }
}

impl LogFile {
    /// The log, which the first call opens.
    fn open(&self) -> Result<AccessLog, Failure> {
        if let Some(log) = self.opened.get() {
            return Ok(log.clone());
        }
        let log = AccessLog::open(&self.path);
        let log = log.map_err(|error| cannot("write", &self.path, error))?;
        Ok(self.opened.get_or_init(|| log).clone())
    }
}

/// The time between two requests: the server's own --idle-timeout bounds it.
const UNBOUNDED: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl HttpOptions {
    /// The handlers of all connections.
    ///
    /// # Errors
    ///
    /// If the directory or the log cannot be opened.
    pub fn factory(&self) -> Result<Factory<StreamRequest>, Failure> {
        let files = StaticFiles::new(&self.root);
        let mut files = files.map_err(|error| cannot("serve", &self.root, error))?;
        if self.precompressed {
            files = files.precompressed();
        }
        if self.spa {
            files = files.single_page();
        }
        if self.cors {
            files = files.cors();
        }
        let limits = HttpLimits::default().with_idle_time(UNBOUNDED);
        let Some(log) = &self.access_log else {
            return Ok(Box::new(move || {
                Box::new(Http::new(files.clone()).limits(limits))
            }));
        };
        let log = log.open()?;
        Ok(Box::new(move || {
            Box::new(Http::new(log.of(files.clone())).limits(limits))
        }))
    }

    /// The access log, which SIGHUP opens again.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened now.
    pub fn watched(&self) -> Result<Option<Watched>, Failure> {
        let Some(file) = &self.access_log else {
            return Ok(None);
        };
        let (log, path) = (file.open()?, file.path.clone());
        Ok(Some(Watched {
            loaded: "the access log was opened again",
            kept: "the access log from before stays in use",
            load: Arc::new(move || {
                let opened = log.reopen();
                opened.map_err(|error| cannot("write", &path, error).to_string())
            }),
        }))
    }
}

fn cannot(purpose: &'static str, path: &Path, source: io::Error) -> Failure {
    let path = path.to_owned();
    Failure::File {
        purpose,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn options(arguments: &[&str]) -> HttpOptions {
        let command = HttpOptions::augment_args(Command::new("http").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        HttpOptions::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn the_present_directory_is_served_unless_another_is_given() {
        assert_eq!(options(&[]).root, PathBuf::from("."));
        for option in ["--root", "--directory"] {
            assert_eq!(options(&[option, "site"]).root, PathBuf::from("site"));
        }
        assert!(options(&[]).factory().is_ok());
    }

    #[test]
    fn a_directory_or_a_log_that_cannot_be_opened_is_named() {
        let missing = options(&["--root", "/missing/site"]).factory();
        let error = missing.err().unwrap().to_string();
        assert!(error.starts_with("cannot serve /missing/site: "), "{error}");
        let missing = options(&["--access-log", "/missing/log"]).factory();
        let error = missing.err().unwrap().to_string();
        assert!(error.starts_with("cannot write /missing/log: "), "{error}");
    }
}
