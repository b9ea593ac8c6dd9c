//! From the server to a local file: [`get`].

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::{AtFlags, statat};
use rustix::io::Errno;
use socketserver_handlers::files::{
    Answer, Code, Entry, IfExists, Kind, Partial, Refusal, Request,
};

use super::progress::{Progress, Shown};
use super::remote::Remote;
use super::trouble::{Trouble, exists, not_finished};
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
/// name has a new file with the complete content and the right hash. After an error nothing has
/// changed here, except that a partial file beside the name has the bytes that arrived.
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
        let entry = entry.ok_or_else(|| Refusal::new(Code::NotFound).about(remote))?;
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
            return Err(Trouble::Here(format!("{remote} {what}")));
        }
        _ => return Err(Refusal::new(Code::NotAFile).about(remote).into()),
    };
    let name = target.name;
    let failed = |error: std::io::Error| Trouble::local("write", name, &error);
    match statat(target.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) if !target.replace => return Err(exists(name)),
        Ok(_) | Err(Errno::NOENT) => {}
        Err(error) => return Err(failed(error.into())),
    }
    let digest = server.digest;
    let directory = target.directory.try_clone().map_err(failed)?;
    let identity = [version.as_bytes(), digest.name().as_bytes()];
    let partial = Partial::open_locked(
        directory,
        name,
        &identity,
        entry.size,
        digest,
        BEFORE_THE_UMASK,
    );
    let Some(mut partial) = partial.map_err(failed)? else {
        let name = super::words::quoted(name);
        return Err(Trouble::Here(format!(
            "another program is getting {name}; wait until it has ended"
        )));
    };
    let get = Request {
        path: Some(remote.to_owned()),
        digest: Some(digest.name().to_owned()),
        version: Some(version.clone()),
        offset: Some(partial.length()),
        prefix_hash: Some(partial.hash()),
        ..Request::new("get")
    };
    match server.ask(&get)? {
        Answer::Begin {
            size,
            version: now,
            offset,
        } if now == *version && size == entry.size => {
            if offset == 0 {
                partial.restart().map_err(failed)?;
            } else if offset != partial.length() {
                server.abandon();
                return Err(Trouble::nonsense(
                    "the content begins at a place that was not asked for",
                ));
            }
            shown.resume_at(offset);
        }
        Answer::Begin { .. } => {
            // Another version than a moment ago: its parts belong to another partial file.
            server.abandon();
            return Err(Refusal::new(Code::Changed).into());
        }
        _ => {
            return Err(Trouble::nonsense(
                "the answer belongs to another command than get",
            ));
        }
    }
    let hash = receive_parts(server, &mut partial, target, shown)?;
    let if_exists = match target.replace {
        true => IfExists::Replace,
        false => IfExists::Refuse,
    };
    let finished = partial.finish(name, &hash, if_exists);
    finished.map_err(|error| not_finished(name, error))
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
