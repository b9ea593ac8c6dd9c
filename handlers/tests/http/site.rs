//! A directory whose files the tests serve, and requests to it.

use std::fs;
use std::path::{Path, PathBuf};

use socketserver::mock::MockStream;
use socketserver_handlers::http::{Http, StaticFiles};
use tempfile::TempDir;

use crate::replies::Reply;

/// A directory `root` within a directory that is not served.
pub struct Site {
    outside: TempDir,
}

impl Site {
    /// A root with these files.
    pub fn new(files: &[(&str, &str)]) -> Self {
        let site = Self {
            outside: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(site.root()).unwrap();
        for (name, content) in files {
            site.write(name, content);
        }
        site
    }

    pub fn root(&self) -> PathBuf {
        self.outside.path().join("root")
    }

    pub fn outside(&self) -> &Path {
        self.outside.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn files(&self) -> StaticFiles {
        StaticFiles::new(self.root()).unwrap()
    }

    /// The response to a GET of a target, with further lines of headers.
    pub fn get(&self, target: &str, lines: &[&str]) -> Reply {
        request(self.files(), "GET", target, lines)
    }
}

/// The response of `files` to a request.
pub fn request(files: StaticFiles, method: &str, target: &str, lines: &[&str]) -> Reply {
    let lines = lines.iter().map(|line| format!("{line}\r\n"));
    let lines = lines.collect::<String>();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let recording = MockStream::new().chunk(head).run(Http::new(files));
    recording.result().as_ref().unwrap();
    let replies = Reply::all(&recording.written(), &[method]);
    let [reply] = <[Reply; 1]>::try_from(replies).unwrap();
    reply
}
