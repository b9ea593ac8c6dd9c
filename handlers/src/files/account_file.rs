//! Changes of the file of accounts: [`AccountFile`].

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::files::accounts::{AccountsError, Table, check_name, name_of, parse};
use crate::password::StoredPassword;

/// The file of [`Accounts`](crate::files::Accounts), to change it.
///
/// Each change writes a new file with the mode 0600, flushes it to the disk, and renames it to the
/// old name. So a reader sees the accounts before the change or after it. Two changes at a time
/// wait for each other (flock of the directory). Comments and the order of lines stay.
#[derive(Debug)]
pub struct AccountFile {
    path: PathBuf,
}

impl AccountFile {
    /// The file at `path`, which need not exist yet. If `path` is a link, the file behind the link.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Self { path }
    }

    /// Adds a user.
    ///
    /// # Errors
    ///
    /// If the user exists, the name is not possible, or the file cannot be read or written.
    pub fn add(
        &self,
        name: &str,
        password: &StoredPassword,
        quota: Option<u64>,
    ) -> Result<(), AccountsError> {
        check_name(name)?;
        self.change(|lines| match find(lines, name) {
            Some(_) => Err(AccountsError::Exists(name.to_owned())),
            None => {
                lines.push(line(name, &password.to_string(), quota));
                Ok(())
            }
        })
    }

    /// Sets the password of a user.
    ///
    /// # Errors
    ///
    /// If there is no such user, or the file cannot be read or written.
    pub fn set_password(&self, name: &str, password: &StoredPassword) -> Result<(), AccountsError> {
        self.change(|lines| {
            let place = find(lines, name).ok_or_else(|| AccountsError::Unknown(name.to_owned()))?;
            let quota = lines[place].splitn(3, ':').nth(2).map(str::to_owned);
            lines[place] = match quota {
                Some(quota) => format!("{name}:{password}:{quota}"),
                None => format!("{name}:{password}"),
            };
            Ok(())
        })
    }

    /// Sets the quota of a user; `None` for no quota.
    ///
    /// # Errors
    ///
    /// As [`set_password`](Self::set_password).
    pub fn set_quota(&self, name: &str, quota: Option<u64>) -> Result<(), AccountsError> {
        self.change(|lines| {
            let place = find(lines, name).ok_or_else(|| AccountsError::Unknown(name.to_owned()))?;
            let entry = lines[place]
                .split(':')
                .nth(1)
                .unwrap_or_default()
                .trim_end();
            lines[place] = line(name, entry, quota);
            Ok(())
        })
    }

    /// Removes a user. The home of the user stays.
    ///
    /// # Errors
    ///
    /// As [`set_password`](Self::set_password).
    pub fn remove(&self, name: &str) -> Result<(), AccountsError> {
        self.change(|lines| {
            let place = find(lines, name).ok_or_else(|| AccountsError::Unknown(name.to_owned()))?;
            lines.remove(place);
            Ok(())
        })
    }

    /// The accounts in the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line is no account.
    pub fn table(&self) -> Result<Table, AccountsError> {
        let text = fs::read_to_string(&self.path);
        let text = text.map_err(|error| AccountsError::of_read(&self.path, error));
        parse(&self.path, &text?)
    }

    /// Lets `change` change the lines of the file, and writes them.
    fn change(
        &self,
        change: impl FnOnce(&mut Vec<String>) -> Result<(), AccountsError>,
    ) -> Result<(), AccountsError> {
        let directory = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let directory = File::open(directory).map_err(|error| self.io(error))?;
        directory.lock().map_err(|error| self.io(error))?;
        let (text, old) = match fs::read_to_string(&self.path) {
            Ok(text) => (text, fs::metadata(&self.path).ok()),
            Err(error) if error.kind() == ErrorKind::NotFound => (String::new(), None),
            Err(error) => return Err(self.io(error)),
        };
        // A broken file is not made worse.
        parse(&self.path, &text)?;
        let mut lines = Vec::from_iter(text.lines().map(str::to_owned));
        change(&mut lines)?;
        let mut text = lines.join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        let written = self.write(&directory, text.as_bytes(), old.as_ref());
        written.map_err(|error| self.io(error))
    }

    fn write(&self, directory: &File, text: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
        let mut name = self
            .path
            .file_name()
            .ok_or(ErrorKind::InvalidInput)?
            .to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        // Left by a change that was killed: nobody else writes the file, since the lock is ours.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let written = (|| {
            if let Some(old) = old {
                let made = file.metadata()?;
                if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
                    // So that root can change the file of a server that is not root.
                    fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
            }
            file.write_all(text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        })();
        if written.is_err() {
            // The first error is the one to report.
            let _ = fs::remove_file(&new);
        }
        written?;
        directory.sync_all()
    }

    fn io(&self, error: io::Error) -> AccountsError {
        AccountsError::Io(self.path.clone(), error)
    }
}

fn find(lines: &[String], name: &str) -> Option<usize> {
    lines.iter().position(|line| name_of(line) == Some(name))
}

fn line(name: &str, entry: &str, quota: Option<u64>) -> String {
    match quota {
        Some(quota) => format!("{name}:{entry}:{quota}"),
        None => format!("{name}:{entry}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::thread;

    use super::*;

    fn password() -> StoredPassword {
        StoredPassword::new("sesame").unwrap()
    }

    #[test]
    fn users_are_added_changed_and_removed_and_comments_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let file = AccountFile::new(&path);
        file.add("ada", &password(), None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("# the family\n{text}")).unwrap();
        file.add("bob", &password(), Some(7)).unwrap();
        file.set_password("bob", &StoredPassword::new("other").unwrap())
            .unwrap();
        file.set_quota("ada", Some(9)).unwrap();
        let table = file.table().unwrap();
        assert!(table["bob"].password.is("other"));
        assert_eq!((table["ada"].quota, table["bob"].quota), (Some(9), Some(7)));
        file.set_quota("bob", None).unwrap();
        file.remove("ada").unwrap();
        assert_eq!(Vec::from_iter(file.table().unwrap().into_keys()), ["bob"]);
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .starts_with("# the family\nbob:$")
        );
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_change_that_is_not_possible_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let file = AccountFile::new(&path);
        file.add("ada", &password(), None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let exists = file.add("ada", &password(), None).unwrap_err();
        assert!(matches!(exists, AccountsError::Exists(_)), "{exists}");
        for unknown in [
            file.remove("bob").unwrap_err(),
            file.set_quota("bob", None).unwrap_err(),
            file.set_password("bob", &password()).unwrap_err(),
        ] {
            assert!(matches!(unknown, AccountsError::Unknown(_)), "{unknown}");
        }
        file.add("../bob", &password(), None).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        fs::write(&path, "nonsense\n").unwrap();
        file.add("bob", &password(), None).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "nonsense\n");
    }

    #[test]
    fn an_error_advises_to_make_the_file_only_if_the_file_does_not_exist() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        let advises = |error: AccountsError| error.to_string().contains("users add");
        assert!(advises(AccountFile::new(&path).table().unwrap_err()));
        // The new file cannot be written.
        fs::create_dir(directory.path().join("users.new")).unwrap();
        let file = AccountFile::new(&path);
        assert!(!advises(file.add("ada", &password(), None).unwrap_err()));
        let nowhere = AccountFile::new(directory.path().join("nowhere/users"));
        assert!(!advises(nowhere.add("ada", &password(), None).unwrap_err()));
        fs::write(&path, b"\xff\n").unwrap();
        assert!(!advises(file.table().unwrap_err()));
        assert!(!advises(file.set_password("ada", &password()).unwrap_err()));
    }

    #[test]
    fn changes_at_the_same_time_lose_nothing_and_a_killed_change_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(directory.path().join("users.new"), "half a li").unwrap();
        let password = password();
        thread::scope(|scope| {
            for number in 0..8 {
                let (path, password) = (&path, &password);
                scope.spawn(move || {
                    let name = format!("user{number}");
                    AccountFile::new(path).add(&name, password, None).unwrap();
                });
            }
        });
        assert_eq!(AccountFile::new(&path).table().unwrap().len(), 8);
    }
}
