//! The options of the files over HTTP.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use socketserver::StreamRequest;
use socketserver_handlers::http::{AccessLog, Http, HttpLimits, StaticFiles};

use crate::factory::Factory;
use crate::failure::Failure;

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
    /// Without this option the lines are in the log on standard error.
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
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
        let Some(path) = &self.access_log else {
            return Ok(Box::new(move || {
                Box::new(Http::new(files.clone()).limits(limits))
            }));
        };
        let log = AccessLog::open(path);
        let log = log.map_err(|error| cannot("write", path, error))?;
        Ok(Box::new(move || {
            Box::new(Http::new(log.of(files.clone())).limits(limits))
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
