//! The receiving of a content from the client: [`Upload`].

use std::fs::File;
use std::io;

use rustix::fs::{FileType, Mode, OFlags, fstatvfs, openat};

use crate::files::digest::ContentDigest;
use crate::files::home::{Home, Place, size};
use crate::files::locks::{Lock, Locks};
use crate::files::partial::{FinishError, Partial, partial_name};
use crate::files::protocol::{Answer, IfExists, Request, bad};
use crate::files::quota::Change;
use crate::files::refusal::{Code, Refusal};

/// The permissions of a stored file.
const OWNER_ONLY: u32 = 0o600;

/// An upload that has begun: its partial file, its reservation, and the locks of both names.
#[derive(Debug)]
pub(super) struct Upload {
    name: Vec<u8>,
    partial: Partial,
    digest: ContentDigest,
    if_exists: IfExists,
    /// The bytes of the file that has this name, which may be replaced.
    replaced: u64,
    /// The bytes that the ledger counts for this upload.
    reserved: u64,
    /// The locks of the name and of the partial file's name.
    _locks: [Lock; 2],
}

/// The result of a `put`.
#[derive(Debug)]
pub(super) enum Begun {
    /// The name has this content already.
    Stored(Answer),
    /// The content has to be sent.
    Upload(Upload),
}

impl Upload {
    /// Begins the upload that the client asks for: locks the name, finds out what is there, and
    /// reserves the bytes that are missing. `from_start` ignores an upload of before.
    ///
    /// The hash of the content is not needed yet. A hash that the client knows already spares the
    /// transfer of a content that the name has.
    pub(super) fn begin(
        request: &Request,
        home: &Home,
        locks: &Locks,
        change: Option<&Change<'_>>,
        from_start: bool,
    ) -> Result<Begun, Refusal> {
        let path = request
            .path
            .as_deref()
            .ok_or_else(|| bad("put lacks its path"))?;
        let content_size = request
            .size
            .ok_or_else(|| bad("put lacks the size of the file"))?;
        if i64::try_from(content_size).is_err() {
            return Err(bad("no file is as large as this size"));
        }
        let digest = request.digest()?;
        let known_hash = request.hash(digest)?;
        let if_exists = request.if_exists()?;
        let place = home.place(path)?;
        place.check_file_name()?;
        let lock = locks.name(&place.directory, &place.name)?;
        let mut replaced = 0;
        if let Some(stat) = place.stat()? {
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    replaced = size(&stat);
                    if let Some(hash) = known_hash
                        && replaced == content_size
                        && has_content(&place, digest, hash)?
                    {
                        let (size, hash) = (content_size, hash.to_owned());
                        return Ok(Begun::Stored(Answer::Stored { size, hash }));
                    }
                }
                FileType::Symlink => {}
                FileType::Directory => return Err(Refusal::new(Code::IsADirectory)),
                _ => return Err(Refusal::new(Code::NotAFile)),
            }
            if if_exists == IfExists::Refuse {
                return Err(Refusal::new(Code::Exists));
            }
        }
        let free = free_bytes(&place)?;
        let Place {
            directory, name, ..
        } = place;
        let identity = [content_size.to_string(), digest.name().to_owned()];
        let identity = identity.each_ref().map(String::as_bytes);
        // Nobody removes the partial file meanwhile.
        let lock_of_partial = locks.name(&directory, partial_name(&name, &identity).as_bytes())?;
        let opened = Partial::open(
            directory,
            &name,
            &identity,
            content_size,
            digest,
            OWNER_ONLY,
        );
        let mut partial = opened?;
        // The ledger counts what is there already, as a file.
        let missing = content_size - partial.length();
        if free < missing {
            return Err(Refusal::new(Code::NoSpace).with_offset(partial.length()));
        }
        if let Some(change) = change {
            let reserved = change.reserve(missing, home.root());
            reserved.map_err(|refusal| refusal.with_offset(partial.length()))?;
        }
        if from_start {
            partial.restart()?;
        }
        Ok(Begun::Upload(Self {
            name,
            partial,
            digest,
            if_exists,
            replaced,
            reserved: content_size,
            _locks: [lock, lock_of_partial],
        }))
    }

    /// The answer that asks for the content.
    pub(super) fn answer(&self) -> Answer {
        Answer::Send {
            offset: self.partial.length(),
            prefix_hash: self.partial.hash(),
        }
    }

    /// The hash function of the upload.
    pub(super) fn digest(&self) -> ContentDigest {
        self.digest
    }

    /// The number of bytes that are there.
    pub(super) fn offset(&self) -> u64 {
        self.partial.length()
    }

    /// The number of bytes that are still to come.
    pub(super) fn missing(&self) -> u64 {
        self.partial.size() - self.partial.length()
    }

    /// Throws away what is there.
    pub(super) fn restart(&mut self) -> Result<(), Refusal> {
        Ok(self.partial.restart()?)
    }

    /// Writes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        Ok(self.partial.write(bytes)?)
    }

    /// Ends the upload before its end, and keeps what is there. Returns the number of bytes.
    pub(super) fn keep(self, change: Option<&Change<'_>>) -> u64 {
        let kept = self.partial.length();
        release(change, self.reserved - kept);
        kept
    }

    /// Gives the content its name, if the client's hash of the content is that of the bytes which
    /// are there. The refusal has the number of bytes that were kept.
    pub(super) fn finish(
        self,
        hash: String,
        change: Option<&Change<'_>>,
    ) -> Result<Answer, Refusal> {
        let size = self.partial.size();
        let finished = self.partial.finish(&self.name, &hash, self.if_exists);
        match finished {
            Ok(()) => {
                release(change, self.replaced);
                Ok(Answer::Stored { size, hash })
            }
            Err(FinishError::WrongHash) => {
                release(change, self.reserved);
                Err(Refusal::new(Code::WrongHash))
            }
            Err(FinishError::NotFlushed(error)) => {
                release(change, self.reserved);
                Err(error.into())
            }
            Err(FinishError::Incomplete) => Err(bad("the content is not complete")),
            Err(FinishError::Io(error)) => Err(Refusal::from(error).with_offset(size)),
        }
    }
}

fn release(change: Option<&Change<'_>>, bytes: u64) {
    if let Some(Err(refusal)) = change.map(|change| change.release(bytes)) {
        // Counted anew when the user has no session.
        log::error!("the bytes of an upload stay reserved: {refusal}");
    }
}

/// Whether the file of this name has the content already.
fn has_content(place: &Place, digest: ContentDigest, hash: &str) -> Result<bool, Refusal> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(
        &place.directory,
        place.name.as_slice(),
        flags,
        Mode::empty(),
    )?;
    let (hasher, _) = digest.of_file(&File::from(file), u64::MAX, |_| Ok::<_, io::Error>(()))?;
    Ok(hasher.hex() == hash)
}

/// The bytes that the file system has for the server.
fn free_bytes(place: &Place) -> Result<u64, Refusal> {
    let free = fstatvfs(&place.directory)?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}
