//! Files and whole directories, from one side to the other: [`Trees`].

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;
use socketserver_handlers::files::{Answer, Code, Kind, Request, escape, unescape};

use super::download::{self, Target};
use super::progress::Progress;
use super::remote::Remote;
use super::trouble::Trouble;
use super::upload;
use super::words::{path_for_user, quoted};
use crate::standard_error::print_line;

/// The most directories one inside the other. A server could show a tree without end.
const DEPTH: usize = 128;

/// Transfers of files and, if the user wants, of directories.
pub struct Trees<'a, 'b> {
    server: &'a mut Remote<'b>,
    progress: Progress,
    recursive: bool,
    replace: bool,
}

impl<'a, 'b> Trees<'a, 'b> {
    pub fn new(
        server: &'a mut Remote<'b>,
        progress: Progress,
        recursive: bool,
        replace: bool,
    ) -> Self {
        Self {
            server,
            progress,
            recursive,
            replace,
        }
    }

    /// Gets what has the path `remote`. A local `target` that is a directory takes it under its own
    /// name.
    pub fn get(
        &mut self,
        remote: &str,
        target: Option<&OsStr>,
        into_directory: bool,
    ) -> Result<(), Trouble> {
        let own_name = base_name(remote).map(bytes_of).transpose()?;
        let target = Path::new(target.unwrap_or(OsStr::new(".")));
        let (directory, name) = match (target.is_dir() || into_directory, target.file_name()) {
            (false, Some(name)) => {
                let parent = target
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                let name = name.as_encoded_bytes().to_vec();
                (parent.unwrap_or(Path::new(".")), Some(name))
            }
            _ => (target, own_name),
        };
        let shown = directory.as_os_str().as_encoded_bytes();
        let opened =
            File::open(directory).map_err(|error| Trouble::local("open", shown, &error))?;
        let directory = OwnedFd::from(opened);
        let is_tree = self.recursive && {
            let entry = self.server.with_retries(|server| server.stat(remote))?;
            entry.is_some_and(|entry| entry.kind == Kind::Directory)
        };
        match (is_tree, name) {
            (true, None) => self.get_tree(remote, &directory, 0),
            (true, Some(name)) => {
                let inner = make_directory(&directory, &name)?;
                self.get_tree(remote, &inner, 0)
            }
            (false, Some(name)) => self.get_file(remote, &directory, &name),
            (false, None) => Err(Trouble::Here(format!(
                "{} is a directory; give -r to get all that is in it",
                path_for_user(remote)
            ))),
        }
    }

    fn get_file(&mut self, remote: &str, directory: &OwnedFd, name: &[u8]) -> Result<(), Trouble> {
        let target = Target {
            directory,
            name,
            replace: self.replace,
        };
        download::get(self.server, remote, &target, self.progress)
    }

    /// Gets what is in a directory of the server. Whatever names the server sends, nothing is
    /// written outside of `directory`: a name is a single one, and no link is followed.
    fn get_tree(&mut self, remote: &str, directory: &OwnedFd, depth: usize) -> Result<(), Trouble> {
        if depth > DEPTH {
            return Err(Trouble::Here(format!(
                "{} is too deep",
                path_for_user(remote)
            )));
        }
        for entry in self.server.entries(remote)? {
            let name = bytes_of(&entry.name)?;
            let path = join(remote, &entry.name);
            match entry.kind {
                Kind::File => self.get_file(&path, directory, &name)?,
                Kind::Directory => {
                    let inner = make_directory(directory, &name)?;
                    self.get_tree(&path, &inner, depth + 1)?;
                }
                Kind::Partial => {}
                _ => self.skip(&name),
            }
        }
        Ok(())
    }

    /// Puts a local file or directory. The target is a path of the server, and whether that is a
    /// directory.
    pub fn put(&mut self, local: &Path, target: Option<&(String, bool)>) -> Result<(), Trouble> {
        let own_name = local
            .file_name()
            .map(|name| escape(name.as_encoded_bytes()));
        let remote = match (target, own_name) {
            (Some((target, false)), _) => target.clone(),
            (Some((target, true)), Some(name)) => join(target, &name),
            (Some((target, true)), None) => target.clone(),
            (None, Some(name)) => name,
            (None, None) => ".".to_owned(),
        };
        match self.recursive && local.is_dir() {
            true => self.put_tree(local, &remote, 0),
            false => upload::put(self.server, local, &remote, self.replace, self.progress),
        }
    }

    fn put_tree(&mut self, local: &Path, remote: &str, depth: usize) -> Result<(), Trouble> {
        let shown = local.as_os_str().as_encoded_bytes();
        let failed = |error| Trouble::local("read", shown, &error);
        if depth > DEPTH {
            return Err(Trouble::Here(format!("{} is too deep", quoted(shown))));
        }
        if remote != "." {
            self.make_remote_directory(remote)?;
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(local).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            entries.push((entry.file_name(), entry.file_type().map_err(failed)?));
        }
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        for (name, kind) in entries {
            let path = join(remote, &escape(name.as_encoded_bytes()));
            let local = local.join(&name);
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => self.put_tree(&local, &path, depth + 1)?,
                (_, true) => {
                    upload::put(self.server, &local, &path, self.replace, self.progress)?;
                }
                _ => self.skip(name.as_encoded_bytes()),
            }
        }
        Ok(())
    }

    fn make_remote_directory(&mut self, path: &str) -> Result<(), Trouble> {
        let request = Request {
            path: Some(path.to_owned()),
            ..Request::new("mkdir")
        };
        match self.server.ask_again(&request) {
            Ok(Answer::Made) => Ok(()),
            Ok(_) => Err(Trouble::nonsense("the answer belongs to another command")),
            // Also after a lost answer. A file of this name refuses what goes into it.
            Err(Trouble::Refused(refusal)) if refusal.code() == Code::Exists => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Notes what is neither file nor directory, and is left out.
    fn skip(&self, name: &[u8]) {
        if self.progress != Progress::Quiet {
            print_line(format!("{}: left out, since it is no file", quoted(name)));
        }
    }
}

/// Makes a local directory, if it is missing, and opens it. A link is not followed.
fn make_directory(directory: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Trouble> {
    let failed = |error: Errno| Trouble::local("make the directory", name, &error.into());
    match mkdirat(directory, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(failed(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::empty()).map_err(failed)
}

/// The bytes of a single name that the server has sent.
fn bytes_of(name: &str) -> Result<Vec<u8>, Trouble> {
    let bytes = unescape(name)
        .filter(|name| !name.contains(&b'/') && !matches!(name.as_slice(), b"." | b".."));
    bytes.ok_or_else(|| Trouble::nonsense("a name in the list is not valid"))
}

/// The last name of a path; `None` for the root, `.` and `..`.
pub fn base_name(path: &str) -> Option<&str> {
    let name = path.rsplit('/').find(|name| !name.is_empty())?;
    (!matches!(name, "." | "..")).then_some(name)
}

/// The path of a name in a directory.
pub fn join(directory: &str, name: &str) -> String {
    format!(
        "{}/{name}",
        directory.strip_suffix('/').unwrap_or(directory)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_last_name_or_none() {
        for (path, name) in [
            ("a/b", Some("b")),
            ("a/b//", Some("b")),
            ("/", None),
            ("a/..", None),
        ] {
            assert_eq!(base_name(path), name);
        }
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("a", "b"), "a/b");
    }

    #[test]
    fn what_is_no_single_name_is_refused() {
        for name in [
            "", ".", "..", "a/b", "/a", "%2e%2e", "a%2Fb", "%2f", "a\0", "%",
        ] {
            bytes_of(name).expect_err(name);
        }
        assert_eq!(bytes_of("...").unwrap(), b"...");
        assert_eq!(bytes_of("%FF\\").unwrap(), b"\xff\\");
    }

    #[test]
    fn a_directory_is_not_made_behind_a_link() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", root.path().join("link")).unwrap();
        let opened = OwnedFd::from(File::open(root.path()).unwrap());
        make_directory(&opened, b"link").unwrap_err();
        make_directory(&opened, b"new").unwrap();
        make_directory(&opened, b"new").unwrap();
    }
}
