//! What the commands of the file client do: [`Client`].

use std::ffi::OsStr;
use std::io::Write;

use socketserver_handlers::files::{Answer, Code, Entry, Kind, Request, escape};

use super::listing;
use super::options::{Command, Transfer};
use super::progress::Progress;
use super::remote::Remote;
use super::trees::{Trees, base_name, join};
use super::trouble::Trouble;
use super::words::path_for_user;
use crate::standard_streams;

/// The entries of a list that are sorted before they are shown.
const SORTED: usize = 10_000;

/// The user's side of a session.
pub struct Client<'a> {
    pub remote: Remote<'a>,
    pub progress: Progress,
}

/// Whether the session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    Command,
    End,
}

impl<'b> Client<'b> {
    /// Carries a command out.
    pub fn run(&mut self, command: &Command) -> Result<Next, Trouble> {
        match command {
            Command::Ls { path } => self.ls(&path_or(path.as_deref(), "."))?,
            Command::Cd { path } => self.remote.change(&path_or(path.as_deref(), "/"))?,
            Command::Pwd => {
                let directory = path_for_user(self.remote.directory());
                print(&[directory.as_bytes(), b"\n"].concat())?;
            }
            Command::Lcd { path } => {
                let name = path.as_os_str().as_encoded_bytes();
                std::env::set_current_dir(path)
                    .map_err(|error| Trouble::local("enter", name, &error))?;
            }
            Command::Mkdir { paths } => {
                for path in paths {
                    self.done("mkdir", path, &Answer::Made)?;
                }
            }
            Command::Rm { paths } => {
                for path in paths {
                    self.done("remove", path, &Answer::Removed)?;
                }
            }
            Command::Mv { replace, from, to } => self.mv(from, to, *replace)?,
            Command::Get(transfer) => self.get(transfer)?,
            Command::Put(transfer) => self.put(transfer)?,
            Command::Du { path } => self.du(&path_or(path.as_deref(), "."))?,
            Command::Quit => return Ok(Next::End),
        }
        Ok(Next::Command)
    }

    /// Shows a list. After a lost connection the client asks for the list again, unless a part of
    /// the list is on standard output already.
    fn ls(&mut self, path: &str) -> Result<(), Trouble> {
        let mut is_shown = false;
        let mut waiting = self.remote.with_retries(|remote| {
            let mut waiting = Vec::new();
            let listed = remote.list(path, |entries| {
                waiting.extend(entries);
                if waiting.len() >= SORTED {
                    is_shown = true;
                    show(&mut waiting)?;
                }
                Ok(())
            });
            match listed {
                Ok(()) => Ok(waiting),
                Err(Trouble::Refused(refusal)) if refusal.code() == Code::NotADirectory => {
                    let entry = remote.stat(path)?;
                    Ok(vec![entry.ok_or(refusal)?])
                }
                Err(trouble @ (Trouble::Lost(_) | Trouble::Refused(_))) if is_shown => {
                    let what = "the list is not complete";
                    Err(Trouble::Here(format!("{what}: {trouble}")))
                }
                Err(trouble) => Err(trouble),
            }
        })?;
        show(&mut waiting)
    }

    fn done(&mut self, command: &str, path: &OsStr, expected: &Answer) -> Result<(), Trouble> {
        let request = Request {
            path: Some(escaped(path)),
            ..Request::new(command)
        };
        match self.once(&request)? {
            answer if answer == *expected => Ok(()),
            _ => Err(Trouble::nonsense("the answer belongs to another command")),
        }
    }

    /// Sends a command that the client does not repeat, because it could take effect twice. Before
    /// the command is sent, the client replaces a lost connection. If the connection is lost after
    /// that, the user has to look at the directory.
    fn once(&mut self, request: &Request) -> Result<Answer, Trouble> {
        self.remote
            .with_retries(|remote| remote.connection().map(drop))?;
        self.remote.ask(request).map_err(|trouble| match trouble {
            Trouble::Lost(problem) => {
                let command = &request.command;
                let what = "has perhaps been carried out; ls shows what is there";
                Trouble::Here(format!("{problem}, and {command} {what}"))
            }
            trouble => trouble,
        })
    }

    fn mv(&mut self, from: &OsStr, to: &OsStr, replace: bool) -> Result<(), Trouble> {
        let (from, mut to) = (escaped(from), escaped(to));
        if self.is_directory(&to)?
            && let Some(name) = base_name(&from)
        {
            to = join(&to, name);
        }
        let request = Request {
            from: Some(from),
            to: Some(to),
            if_exists: replace.then(|| "replace".to_owned()),
            ..Request::new("rename")
        };
        match self.once(&request)? {
            Answer::Renamed => Ok(()),
            _ => Err(Trouble::nonsense("the answer belongs to another command")),
        }
    }

    fn get(&mut self, transfer: &Transfer) -> Result<(), Trouble> {
        let (sources, target) = transfer.sources_and_target();
        let mut trees = self.trees(transfer);
        for source in sources {
            trees.get(
                &escaped(source),
                target.map(AsRef::as_ref),
                sources.len() > 1,
            )?;
        }
        Ok(())
    }

    fn put(&mut self, transfer: &Transfer) -> Result<(), Trouble> {
        let (sources, target) = transfer.sources_and_target();
        let target = match target {
            Some(target) => {
                let target = escaped(target);
                let is_directory = self.is_directory(&target)?;
                if sources.len() > 1 && !is_directory {
                    let what = "is not a directory at the server; several files need one";
                    return Err(Trouble::Here(format!("{} {what}", path_for_user(&target))));
                }
                Some((target, is_directory))
            }
            None => None,
        };
        let mut trees = self.trees(transfer);
        for source in sources {
            trees.put(source.as_ref(), target.as_ref())?;
        }
        Ok(())
    }

    fn trees(&mut self, transfer: &Transfer) -> Trees<'_, 'b> {
        let server = &mut self.remote;
        Trees::new(server, self.progress, transfer.recursive, transfer.replace)
    }

    fn du(&mut self, path: &str) -> Result<(), Trouble> {
        let path = Some(path.to_owned());
        let request = Request {
            path,
            ..Request::new("du")
        };
        let Answer::Usage {
            bytes,
            files,
            directories,
            quota,
            used,
            free,
        } = self.remote.ask_again(&request)?
        else {
            return Err(Trouble::nonsense("no sums after du"));
        };
        let mut lines = format!("{bytes} bytes in {files} files and {directories} directories\n");
        if let (Some(quota), Some(used)) = (quota, used) {
            lines += &format!("{used} of {quota} bytes of the quota are in use\n");
        }
        lines += &format!("{free} bytes are free\n");
        print(lines.as_bytes())
    }

    fn is_directory(&mut self, path: &str) -> Result<bool, Trouble> {
        let entry = self.remote.with_retries(|remote| remote.stat(path))?;
        Ok(entry.is_some_and(|entry| entry.kind == Kind::Directory))
    }
}

/// Shows entries in the order of their names, and removes them.
fn show(entries: &mut Vec<Entry>) -> Result<(), Trouble> {
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let lines: String = entries
        .drain(..)
        .map(|entry| listing::line(&entry))
        .collect();
    print(lines.as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), Trouble> {
    let mut output = standard_streams::output();
    let printed = output.write_all(bytes).and_then(|()| output.flush());
    printed.map_err(Trouble::Output)
}

fn escaped(path: &OsStr) -> String {
    escape(path.as_encoded_bytes())
}

fn path_or(path: Option<&OsStr>, default: &str) -> String {
    path.map_or_else(|| default.to_owned(), escaped)
}
