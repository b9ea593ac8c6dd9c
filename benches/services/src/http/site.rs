//! The files that are served.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// What is asked for, and what it has to be.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    pub target: &'static str,
    pub length: usize,
}

pub const HELLO: Resource = Resource {
    target: "/",
    length: TEXT.len(),
};

pub const SMALL: Resource = Resource {
    target: "/small.bin",
    length: 1024,
};

pub const LARGE: Resource = Resource {
    target: "/large.bin",
    length: 1024 * 1024,
};

/// What a server without files answers.
pub const TEXT: &str = "hello, world\n";

impl Resource {
    /// The whole body of the response.
    pub fn content(&self) -> Vec<u8> {
        match self.target {
            "/" => TEXT.into(),
            _ => (0..self.length).map(|it| (it % 251) as u8).collect(),
        }
    }
}

/// A directory with the files, and with what a server keeps beside them. It is removed when this
/// value is dropped.
#[derive(Debug)]
pub struct Site {
    directory: TempDir,
}

impl Site {
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let site = Self { directory };
        fs::create_dir(site.root())?;
        for resource in [SMALL, LARGE] {
            let name = &resource.target[1..];
            fs::write(site.root().join(name), resource.content())?;
        }
        Ok(site)
    }

    /// The directory whose files are served.
    pub fn root(&self) -> std::path::PathBuf {
        self.directory.path().join("root")
    }

    /// The directory for the files of a server.
    pub fn own(&self) -> &Path {
        self.directory.path()
    }
}
