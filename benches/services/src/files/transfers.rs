//! The transfers, and the files that are transferred.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;

use crate::figures::{Figure, Sample};
use crate::servers::{Running, Server};

/// How much is transferred.
#[derive(Debug, Clone)]
pub struct Sizes {
    pub rounds: usize,
    /// The mebibytes of the large file.
    pub mebibytes: usize,
    /// The number of small files.
    pub files: usize,
    /// The transfers at a time whose memory is measured.
    pub at_a_time: usize,
    /// The logins of each kind that are refused.
    pub logins: usize,
}

impl Sizes {
    pub const FULL: Self = Self {
        rounds: 5,
        mebibytes: 1024,
        files: 1000,
        at_a_time: 8,
        logins: 30,
    };

    /// To see that everything works: the figures mean nothing.
    pub const QUICK: Self = Self {
        rounds: 1,
        mebibytes: 2,
        files: 10,
        at_a_time: 2,
        logins: 2,
    };
}

/// The bytes of a small file.
const SMALL: usize = 4096;

/// The files that are transferred, and what the servers keep. It is removed when this value is
/// dropped.
#[derive(Debug)]
pub struct Material {
    directory: TempDir,
}

impl Material {
    /// The files are in memory where there is a file system for that: disks are not compared here.
    pub fn new(sizes: &Sizes) -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let directory = match memory.is_dir() {
            true => TempDir::new_in(memory)?,
            false => TempDir::new()?,
        };
        let material = Self { directory };
        let mut block = vec![0; 1 << 20];
        fastrand::Rng::with_seed(1).fill(&mut block);
        let mut large = Vec::new();
        for _ in 0..sizes.mebibytes {
            large.extend_from_slice(&block);
        }
        fs::write(material.large(), large)?;
        fs::create_dir(material.many())?;
        for number in 0..sizes.files {
            fs::write(material.many().join(number.to_string()), &block[..SMALL])?;
        }
        for directory in [material.homes(), material.received()] {
            fs::create_dir(directory)?;
        }
        Ok(material)
    }

    /// The directory for the files of a server.
    pub fn own(&self) -> &Path {
        self.directory.path()
    }

    /// The large file.
    pub fn large(&self) -> PathBuf {
        self.own().join("large.bin")
    }

    /// The directory of the small files.
    pub fn many(&self) -> PathBuf {
        self.own().join("many")
    }

    /// Where servers have what clients put.
    pub fn homes(&self) -> PathBuf {
        self.own().join("homes")
    }

    /// Where clients have what they get.
    pub fn received(&self) -> PathBuf {
        self.own().join("received")
    }
}

/// What is transferred, and where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    PutLarge,
    GetLarge,
    PutMany,
    GetMany,
}

impl Load {
    pub const ALL: &[Self] = &[Self::PutLarge, Self::GetLarge, Self::PutMany, Self::GetMany];

    pub fn title(self, sizes: &Sizes) -> String {
        let (mebibytes, files) = (sizes.mebibytes, sizes.files);
        match self {
            Self::PutLarge => format!("{mebibytes} MiB up"),
            Self::GetLarge => format!("{mebibytes} MiB down"),
            Self::PutMany => format!("{files} files of 4 KiB up"),
            Self::GetMany => format!("{files} files of 4 KiB down"),
        }
    }

    /// The servers that can do it. Many small files take vsftpd and curl a third of a second each.
    pub fn servers(self) -> &'static [Server] {
        match self {
            Self::PutLarge | Self::GetLarge => &[Server::Ours, Server::Ftp, Server::Scp],
            Self::PutMany | Self::GetMany => &[Server::Ours, Server::Scp],
        }
    }

    /// Whether the hash is a good part of the time.
    pub fn is_hashed(self) -> bool {
        matches!(self, Self::PutLarge | Self::GetLarge)
    }

    /// Does it once, and checks what has arrived.
    pub fn run(self, server: &Running, material: &Material, sizes: &Sizes) -> io::Result<Sample> {
        let received = material.received();
        let stored = server.stored(material);
        let (from, to) = match self {
            Self::PutLarge => (material.large(), stored.join("large.bin")),
            Self::GetLarge => (stored.join("large.bin"), received.join("large.bin")),
            Self::PutMany => (material.many(), stored.join("many")),
            Self::GetMany => (stored.join("many"), received.join("many")),
        };
        remove(&to)?;
        let mut command = server.client(self, material)?;
        let start = Instant::now();
        let output = command.output()?;
        let seconds = start.elapsed().as_secs_f64();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{command:?}: {errors}")));
        }
        check(&from, &to, self, sizes)?;
        // Only the last round's stay on the server, to be fetched.
        if matches!(self, Self::GetLarge | Self::GetMany) {
            remove(&to)?;
        }
        Ok(match self {
            Self::PutLarge | Self::GetLarge => {
                Sample::from([(Figure::Rate, sizes.mebibytes as f64 / seconds)])
            }
            Self::PutMany | Self::GetMany => {
                Sample::from([(Figure::Files, sizes.files as f64 / seconds)])
            }
        })
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match path.is_dir() {
        true => fs::remove_dir_all(path),
        false if path.exists() => fs::remove_file(path),
        false => Ok(()),
    }
}

/// Checks that everything has arrived.
fn check(from: &Path, to: &Path, load: Load, sizes: &Sizes) -> io::Result<()> {
    let is_whole = match load {
        Load::PutLarge | Load::GetLarge => {
            fs::metadata(to)?.len() == (sizes.mebibytes << 20) as u64
        }
        Load::PutMany | Load::GetMany => {
            let mut names = (0..sizes.files).map(|number| number.to_string());
            names.all(|name| {
                let (from, to) = (from.join(&name), to.join(&name));
                matches!((fs::read(from), fs::read(to)), (Ok(from), Ok(to)) if from == to)
            })
        }
    };
    match is_whole {
        true => Ok(()),
        false => Err(io::Error::other(format!("{to:?} is not {from:?}"))),
    }
}
