//! The log of all requests in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::{Request, Response, StatusCode};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

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
    path: Arc<Path>,
    /// The lock is held for the copy of the pointer alone, and never during a write.
    file: Arc<Mutex<Arc<File>>>,
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
        let path = path.as_ref();
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self {
            path: path.into(),
            file: Arc::new(Mutex::new(Arc::new(file))),
            has_failed: Arc::default(),
        })
    }

    /// Opens the file at the path again, and creates it if it does not exist: another program may
    /// have renamed the file. Later lines of all connections of this process go there. A forked
    /// child writes to its own file until its connection ends. Python's counterpart is
    /// `logging.handlers.WatchedFileHandler`.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or created, or is a pipe without a reader. Later lines then go
    /// to the file from before.
    pub fn reopen(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // An open of a pipe would wait for a reader.
        let options = options.custom_flags(libc::O_NONBLOCK);
        let file = options.append(true).create(true).open(&self.path)?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
        *self.file() = Arc::new(file);
        Ok(())
    }

    /// Makes a service of `handler` whose requests are logged in this file and nowhere else. Python
    /// has no counterpart.
    #[must_use]
    pub fn of<H: HttpHandler>(&self, handler: H) -> Logged<H> {
        let log = self.clone();
        Logged { handler, log }
    }

    fn file(&self) -> MutexGuard<'_, Arc<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, entry: &LogEntry<'_>) {
        let line = format!("{entry}\n");
        let file = Arc::clone(&self.file());
        let written = (&*file).write_all(line.as_bytes());
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
