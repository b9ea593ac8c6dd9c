//! The log of all requests in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::http::{Request, Response, StatusCode};

use super::handler::{HttpHandler, HttpResult};
use super::log_entry::LogEntry;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;

/// A file to which a line in the common log format is appended for each request.
///
/// All connections share the file, also those of forked children: each line is one write(2) with
/// `O_APPEND`. Python's `log_message` writes to standard error.
#[derive(Debug, Clone)]
pub struct AccessLog {
    file: Arc<File>,
    /// Whether the last line could not be written.
    has_failed: Arc<AtomicBool>,
}

/// A service whose requests are logged in a file. [`AccessLog::of`] makes it. Python's counterpart
/// is a subclass that overrides `log_message`.
#[derive(Debug, Clone)]
#[doc(alias = "log_message")]
pub struct Logged<H> {
    handler: H,
    log: AccessLog,
}

impl AccessLog {
    /// Opens the file at `path`, and creates it if it does not exist. Python has no counterpart.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or created.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            file: Arc::new(file),
            has_failed: Arc::default(),
        })
    }

    /// Makes a service of `handler` whose requests are logged in this file and nowhere else. Python
    /// has no counterpart.
    #[must_use]
    pub fn of<H: HttpHandler>(&self, handler: H) -> Logged<H> {
        let log = self.clone();
        Logged { handler, log }
    }

    fn append(&self, entry: &LogEntry<'_>) {
        let line = format!("{entry}\n");
        let written = (&*self.file).write_all(line.as_bytes());
        // Relaxed: of several threads, each may log the failure.
        let had_failed = self.has_failed.swap(written.is_err(), Ordering::Relaxed);
        if let Err(error) = written.as_ref()
            && !had_failed
        {
            log::warn!("the access log cannot be written: {error}");
        }
    }
}

impl<H: HttpHandler> HttpHandler for Logged<H> {
    fn respond(&mut self, request: &mut Request<RequestBody<'_>>) -> HttpResult {
        self.handler.respond(request)
    }

    fn error_page(&mut self, status: StatusCode, reason: &str) -> Response<ResponseBody> {
        self.handler.error_page(status, reason)
    }

    fn log_request(&mut self, entry: &LogEntry<'_>) {
        self.log.append(entry);
    }
}
