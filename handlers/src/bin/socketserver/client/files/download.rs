//! From the server to a local file: [`get`].

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use socketserver_handlers::files::{
    Answer, Code, ContentDigest, Entry, IfExists, Kind, Partial, Refusal, Request,
};

use super::progress::{Progress, Shown};
use super::remote::Remote;
use super::trouble::{Trouble, exists, not_finished};
use super::words::{path_for_user, quoted};
use crate::failure::Problem;

/// The permissions of a new file before the umask.
const BEFORE_THE_UMASK: u32 = 0o666;

/// The bytes that are in memory.
const PIECE: usize = 128 * 1024;

/// The place of a local file: an open directory, and a single name in it.
pub struct Target<'a> {
    pub directory: &'a OwnedFd,
    pub name: &'a [u8],
    pub replace: bool,
}

/// Gets the file at the path `remote` of the server. When this returns without an error, the local
/// name has a file with the complete content and the right hash: a new one, or the one of before if
/// that had the content already. After an error nothing has changed here, except that a partial
/// file beside the name has the bytes that arrived.
pub fn get(
    server: &mut Remote<'_>,
    remote: &str,
    target: &Target<'_>,
    progress: Progress,
) -> Result<(), Trouble> {
    let begin = Instant::now();
    let mut shown = None;
    server.with_retries(|server| {
        let entry = server.stat(remote)?;
        let entry =
            entry.ok_or_else(|| Refusal::new(Code::NotFound).about(&path_for_user(remote)))?;
        let shown = shown.get_or_insert_with(|| progress.begin(target.name, entry.size));
        receive(server, remote, &entry, target, shown)
    })?;
    if let Some(shown) = shown {
        shown.end(begin.elapsed());
    }
    Ok(())
}

fn receive(
    server: &mut Remote<'_>,
    remote: &str,
    entry: &Entry,
    target: &Target<'_>,
    shown: &Shown,
) -> Result<(), Trouble> {
    let version = match (entry.kind, &entry.version) {
        (Kind::File | Kind::Partial, Some(version)) => version,
        (Kind::Directory, _) => {
            let what = "is a directory; give -r to get all that is in it";
            return Err(Trouble::Here(format!("{} {what}", path_for_user(remote))));
        }
        _ => {
            return Err(Refusal::new(Code::NotAFile)
                .about(&path_for_user(remote))
                .into());
        }
    };
    let content = Content {
        remote,
        version,
        size: entry.size,
    };
    let mut present = Present::look(target, entry.size, server.digest)?;
    if target.replace || present == Present::Nothing {
        let partial = lock_partial(target, version, entry.size, server.digest)?;
        if present == Present::Nothing {
            // Another program has perhaps finished the same download before the lock was free.
            present = Present::look(target, entry.size, server.digest)?;
        }
        if target.replace || present == Present::Nothing {
            return content.receive(server, partial, &present, target, shown);
        }
    }
    match present {
        Present::SameSize(hash) if content.is_known(server, &hash)? => Ok(()),
        _ => Err(exists(target.name)),
    }
}

/// What has the local name before the download.
#[derive(Debug, PartialEq, Eq)]
enum Present {
    Nothing,
    /// A file of the same size, with this hash.
    SameSize(String),
    /// Something that differs from the content of the server, or that cannot be read.
    Other,
}

impl Present {
    fn look(target: &Target<'_>, size: u64, digest: ContentDigest) -> Result<Self, Trouble> {
        let name = target.name;
        match statat(target.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat)
                if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                    && u64::try_from(stat.st_size) == Ok(size) => {}
            Ok(_) => return Ok(Self::Other),
            Err(Errno::NOENT) => return Ok(Self::Nothing),
            Err(error) => return Err(Trouble::local("write", name, &error.into())),
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(file) = openat(target.directory, name, flags, Mode::empty()) else {
            return Ok(Self::Other);
        };
        let seen = |_| Ok::<_, std::io::Error>(());
        match digest.of_file(&file.into(), size, seen) {
            Ok((hasher, length)) if length == size => Ok(Self::SameSize(hasher.hex())),
            Ok(_) => Ok(Self::Other),
            Err(error) => Err(Trouble::local("read", name, &error)),
        }
    }
}

fn lock_partial(
    target: &Target<'_>,
    version: &str,
    size: u64,
    digest: ContentDigest,
) -> Result<Partial, Trouble> {
    let name = target.name;
    let identity = [version.as_bytes(), digest.name().as_bytes()];
    let directory = target.directory.try_clone();
    let partial = directory.and_then(|directory| {
        Partial::open_locked(directory, name, &identity, size, digest, BEFORE_THE_UMASK)
    });
    match partial {
        Ok(Some(partial)) => Ok(partial),
        Ok(None) => {
            let name = quoted(name);
            Err(Trouble::Here(format!(
                "another program is getting {name}; wait until it has ended"
            )))
        }
        Err(error) => Err(Trouble::local("write", name, &error)),
    }
}

/// A content of the server.
struct Content<'a> {
    remote: &'a str,
    version: &'a str,
    size: u64,
}

impl Content<'_> {
    /// Whether the content has this hash. No byte of the content moves if so: the client asks for
    /// what comes after the last byte.
    fn is_known(&self, server: &mut Remote<'_>, hash: &str) -> Result<bool, Trouble> {
        let offset = self.begin(server, self.size, hash)?;
        if offset == self.size {
            self.check_known(server, hash)?;
            return Ok(true);
        }
        // The whole content is on its way.
        server.abandon();
        Ok(false)
    }

    /// Receives what the partial file lacks, and gives it the local name. If the local file has the
    /// content already, nothing is received.
    fn receive(
        &self,
        server: &mut Remote<'_>,
        mut partial: Partial,
        present: &Present,
        target: &Target<'_>,
        shown: &Shown,
    ) -> Result<(), Trouble> {
        let offset = match present {
            // With a partial file, it is known that the local file has another content.
            Present::SameSize(hash) if partial.length() == 0 => {
                let offset = self.begin(server, self.size, hash)?;
                if offset == self.size {
                    return self.check_known(server, hash);
                }
                offset
            }
            _ => self.begin(server, partial.length(), &partial.hash())?,
        };
        let name = target.name;
        if offset == 0 {
            let restarted = partial.restart();
            restarted.map_err(|error| Trouble::local("write", name, &error))?;
        }
        shown.resume_at(offset);
        let hash = receive_parts(server, &mut partial, target, shown)?;
        let if_exists = match target.replace {
            true => IfExists::Replace,
            false => IfExists::Refuse,
        };
        let finished = partial.finish(name, &hash, if_exists);
        finished.map_err(|error| not_finished(name, error))
    }

    /// Asks for the bytes from `offset`; the bytes before have this hash here. Returns where the
    /// server begins: at `offset` if its bytes have the same hash, and else at 0.
    fn begin(
        &self,
        server: &mut Remote<'_>,
        offset: u64,
        prefix_hash: &str,
    ) -> Result<u64, Trouble> {
        let get = Request {
            path: Some(self.remote.to_owned()),
            digest: Some(server.digest.name().to_owned()),
            version: Some(self.version.to_owned()),
            offset: Some(offset),
            prefix_hash: Some(prefix_hash.to_owned()),
            ..Request::new("get")
        };
        match server.ask(&get)? {
            Answer::Begin {
                size,
                version,
                offset: begin,
            } if version == self.version && size == self.size => {
                if begin != 0 && begin != offset {
                    server.abandon();
                    return Err(Trouble::nonsense(
                        "the content begins at a place that was not asked for",
                    ));
                }
                Ok(begin)
            }
            Answer::Begin { .. } => {
                // Another version than a moment ago: its parts belong to another partial file.
                server.abandon();
                Err(Refusal::new(Code::Changed).into())
            }
            _ => Err(Trouble::nonsense(
                "the answer belongs to another command than get",
            )),
        }
    }

    /// Reads the end of a download that has no parts.
    fn check_known(&self, server: &mut Remote<'_>, known: &str) -> Result<(), Trouble> {
        match server.next()? {
            Answer::Sent { size, hash } if size == self.size => match hash == known {
                true => Ok(()),
                false => Err(Refusal::new(Code::Changed).into()),
            },
            _ => Err(Trouble::nonsense("no end after a content without parts")),
        }
    }
}

/// Receives the parts, and returns the hash of the whole content by the server's account.
fn receive_parts(
    server: &mut Remote<'_>,
    partial: &mut Partial,
    target: &Target<'_>,
    shown: &Shown,
) -> Result<String, Trouble> {
    let mut buffer = vec![0; PIECE];
    loop {
        let mut left = match server.next()? {
            Answer::Part { offset, data_size } if offset == partial.length() => data_size,
            Answer::Sent { size, hash } if size == partial.length() => return Ok(hash),
            _ => {
                return Err(Trouble::nonsense(
                    "a part does not continue the part before it",
                ));
            }
        };
        if left > partial.size() - partial.length() {
            return Err(Trouble::nonsense("the content is longer than announced"));
        }
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let count = server.open()?.read(&mut buffer[..wanted])?;
            if count == 0 {
                return Err(Problem::Left.into());
            }
            if let Err(error) = partial.write(&buffer[..count]) {
                // The rest of the content is still to come.
                server.abandon();
                return Err(Trouble::local("write", target.name, &error));
            }
            left -= count as u64;
            server.note_moved(count as u64);
            shown.add(count as u64);
        }
    }
}
