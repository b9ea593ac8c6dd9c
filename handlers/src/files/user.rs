//! The actions of a user after the login: [`User`].

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{FileType, Stat, fstatvfs};
use socketserver::{Deadlines, StreamRequest};

use crate::files::accounts::Account;
use crate::files::download;
use crate::files::home::{self, Home};
use crate::files::protocol::{Answer, Request, bad};
use crate::files::quota::{Change, Ledger};
use crate::files::receive::{End, receive, receive_body, skip};
use crate::files::refusal::{Code, Interrupted, Refusal};
use crate::files::service::FileService;
use crate::files::upload::{Begun, Upload};
use crate::files::walk::Usage;

/// How long a transfer may move no byte, unless the server has another bound.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes of entries in a message of a list, roughly: an entry is added while there are fewer.
const LIST_PIECE: usize = 16 * 1024;

/// The bytes of an entry's message beside its name, roughly.
const ENTRY_SIZE: usize = 150;

/// A user who has logged in.
#[derive(Debug)]
pub(super) struct User {
    name: String,
    /// The entry of the password at the time of the login.
    entry: String,
    home: Home,
    ledger: Option<Ledger>,
}

impl User {
    /// Opens the home of a user who has given the right password.
    pub(super) fn enter(
        service: &FileService,
        name: &str,
        account: &Account,
    ) -> Result<Self, Refusal> {
        let home = Home::open(service.root(), name)?;
        let quota = account.quota.or(service.default_quota());
        let ledger = quota
            .map(|quota| Ledger::open(service.state(), name, home.root(), quota))
            .transpose()?;
        Ok(Self {
            name: name.to_owned(),
            entry: account.password.to_string(),
            home,
            ledger,
        })
    }

    /// The answer to the login.
    pub(super) fn welcome(&self) -> Answer {
        Answer::Welcome {
            user: self.name.clone(),
            path: self.home.current(),
            quota: self.ledger.as_ref().map(Ledger::limit),
        }
    }

    /// Refuses a user whose account has changed since the login.
    pub(super) fn check_account(&self, service: &FileService) -> Result<(), Refusal> {
        let table = service.accounts().table_or_log();
        let account = table.as_ref().and_then(|table| table.get(&self.name));
        match account.is_some_and(|account| account.password.to_string() == self.entry) {
            true => Ok(()),
            false => Err(Refusal::new(Code::AccountChanged)),
        }
    }

    /// Receives a content: the body of the `put`, or the parts that the client sends then.
    pub(super) fn put(
        &self,
        client: &mut StreamRequest,
        service: &FileService,
        request: &Request,
    ) -> Result<Answer, Interrupted> {
        let body = request.data_size;
        let change = match self.begin_change() {
            Ok(change) => change,
            Err(refusal) => {
                skip(client, body)?;
                return Err(refusal.into());
            }
        };
        let change = change.as_ref();
        let begun = hash_at_once(request).and_then(|at_once| {
            let (home, locks) = (&self.home, service.locks());
            let begun = Upload::begin(request, home, locks, change, at_once.is_some())?;
            Ok((begun, at_once))
        });
        let (mut upload, at_once) = match begun {
            Ok((Begun::Upload(upload), at_once)) => (upload, at_once),
            Ok((Begun::Stored(answer), _)) => {
                skip(client, body)?;
                return Ok(answer);
            }
            Err(refusal) => {
                skip(client, body)?;
                return Err(refusal.into());
            }
        };
        let received = in_its_time(client, |client| match at_once {
            Some(hash) => {
                receive_body(client, body, &mut upload, &mut Vec::new())?;
                Ok(End::Sent(hash))
            }
            None => receive(client, &mut upload, || self.check_account(service)),
        });
        let received = received.and_then(|end| {
            self.check_account(service)?;
            Ok(end)
        });
        match received {
            Ok(End::Sent(hash)) => Ok(upload.finish(hash, change)?),
            Ok(End::Cancelled) => {
                let offset = Some(upload.keep(change));
                Ok(Answer::Cancelled { offset })
            }
            Err(Interrupted::Refused(refusal)) => {
                Err(refusal.with_offset(upload.keep(change)).into())
            }
            Err(lost) => {
                upload.keep(change);
                Err(lost)
            }
        }
    }

    /// Sends a file, and returns the last message.
    pub(super) fn get(
        &self,
        client: &mut StreamRequest,
        request: &Request,
    ) -> Result<Answer, Interrupted> {
        in_its_time(client, |client| download::send(request, &self.home, client))
    }

    /// Sends the entries of a directory, piece by piece, and returns the last message.
    pub(super) fn list(
        &self,
        client: &mut StreamRequest,
        request: &Request,
    ) -> Result<Answer, Interrupted> {
        let directory = self.home.directory(path_or_current(request))?;
        in_its_time(client, |client| list(client, &directory))
    }

    /// Carries out a command that has one short answer.
    pub(super) fn answer(
        &mut self,
        service: &FileService,
        command: &str,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let path = || {
            let path = request.path.as_deref();
            path.ok_or_else(|| bad(&format!("{command} lacks its path")))
        };
        match command {
            "pwd" => {}
            "cd" => self.home.change(path()?)?,
            "stat" => {
                let entry = self.home.entry(path()?)?;
                return Ok(Answer::Entry { entry });
            }
            "mkdir" => {
                self.home.place(path()?)?.make_directory()?;
                return Ok(Answer::Made);
            }
            "remove" => return self.remove(service, path()?),
            "rename" => return self.rename(service, request),
            "du" => return self.usage(path_or_current(request)),
            _ => return Err(Refusal::new(Code::UnknownCommand)),
        }
        let path = self.home.current();
        Ok(Answer::Directory { path })
    }

    fn remove(&self, service: &FileService, path: &str) -> Result<Answer, Refusal> {
        let place = self.home.place(path)?;
        let _lock = service.locks().name(&place.directory, &place.name)?;
        let change = self.begin_change()?;
        let removed = place.remove()?;
        release(change.as_ref(), &removed)?;
        Ok(Answer::Removed)
    }

    fn rename(&self, service: &FileService, request: &Request) -> Result<Answer, Refusal> {
        let (Some(from), Some(to)) = (&request.from, &request.to) else {
            return Err(bad("rename lacks from or to"));
        };
        let if_exists = request.if_exists()?;
        let (from, to) = (self.home.place(from)?, self.home.place(to)?);
        let _lock = service.locks().name(&from.directory, &from.name)?;
        let _other = match from.is_same_name(&to)? {
            true => None,
            false => Some(service.locks().name(&to.directory, &to.name)?),
        };
        let change = self.begin_change()?;
        let (moved, replaced) = (from.stat()?, to.stat()?);
        from.rename(&to, if_exists)?;
        let is_same = |stat: &Stat| {
            moved.is_some_and(|it| (it.st_dev, it.st_ino) == (stat.st_dev, stat.st_ino))
        };
        if let Some(replaced) = replaced.filter(|stat| !is_same(stat)) {
            release(change.as_ref(), &replaced)?;
        }
        Ok(Answer::Renamed)
    }

    /// Begins a change of the files, if they are counted.
    fn begin_change(&self) -> Result<Option<Change<'_>>, Refusal> {
        let ledger = self.ledger.as_ref();
        ledger.map(Ledger::begin_change).transpose()
    }

    fn usage(&self, path: &str) -> Result<Answer, Refusal> {
        let directory = self.home.directory(path)?;
        let Usage {
            bytes,
            files,
            directories,
        } = Usage::of(directory.as_fd())?;
        let system = fstatvfs(&directory)?;
        Ok(Answer::Usage {
            bytes,
            files,
            directories,
            quota: self.ledger.as_ref().map(Ledger::limit),
            used: self.ledger.as_ref().map(Ledger::used).transpose()?,
            free: system.f_bavail.saturating_mul(system.f_frsize),
        })
    }
}

/// Gives the bytes of a file back that is no more.
fn release(change: Option<&Change<'_>>, stat: &Stat) -> Result<(), Refusal> {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    match change {
        Some(change) if is_file && stat.st_nlink == 1 => change.release(home::size(stat)),
        _ => Ok(()),
    }
}

/// The path of a command that may come without one.
fn path_or_current(request: &Request) -> &str {
    request.path.as_deref().unwrap_or(".")
}

/// The hash of a `put` whose body is the whole content; `None` if the content is to be asked for.
fn hash_at_once(request: &Request) -> Result<Option<String>, Refusal> {
    let body = request.data_size;
    match (request.size == Some(body), &request.hash) {
        (true, Some(hash)) => Ok(Some(hash.clone())),
        (true, None) => Err(bad("put lacks the hash of its body")),
        (false, _) if body == 0 => Ok(None),
        (false, _) => Err(bad(
            "the body of put is the whole content, or there is none",
        )),
    }
}

/// Runs a transfer, which may take as long as bytes move.
fn in_its_time<T>(
    client: &mut StreamRequest,
    transfer: impl FnOnce(&mut StreamRequest) -> Result<T, Interrupted>,
) -> Result<T, Interrupted> {
    let own = client.deadlines();
    let at_most = |limit: Option<Duration>| limit.map_or(PATIENCE, |limit| limit.min(PATIENCE));
    let progress = own.progress().unwrap_or_else(|| at_most(own.read()));
    let mut deadlines = Deadlines::none()
        .with_progress(progress)
        .with_idle(progress);
    if let Some(lifetime) = own.lifetime() {
        deadlines = deadlines.with_lifetime(lifetime);
    }
    client.set_deadlines(deadlines);
    let done = transfer(client);
    client.set_deadlines(own);
    done
}

fn list(client: &mut StreamRequest, directory: &OwnedFd) -> Result<Answer, Interrupted> {
    let (mut count, mut bytes) = (0, 0);
    let mut piece = Vec::new();
    for entry in home::entries(directory)? {
        let entry = entry?;
        bytes += entry.name.len() + ENTRY_SIZE;
        piece.push(entry);
        count += 1;
        if bytes > LIST_PIECE {
            bytes = 0;
            let entries = std::mem::take(&mut piece);
            Answer::Entries { entries }.write(client)?;
        }
    }
    if !piece.is_empty() {
        Answer::Entries { entries: piece }.write(client)?;
    }
    Ok(Answer::End { count })
}
