//! The users who may log in to the file service: [`Accounts`].

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::password::{PasswordError, StoredPassword};

/// The accounts in a file, which is read again whenever it has changed.
///
/// The file has a line `NAME:ENTRY` for each user, or `NAME:ENTRY:QUOTA` with a quota in bytes;
/// the entry is that of a [`StoredPassword`]. Empty lines and lines that begin with `#` are
/// skipped. [`AccountFile`](crate::files::AccountFile) changes the file.
#[derive(Debug)]
pub struct Accounts {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Table>)>>,
    /// Whether the log already has the error of the broken file. Relaxed: this bound of the log
    /// orders nothing.
    is_reported: AtomicBool,
}

/// The accounts of a file by their names.
pub type Table = BTreeMap<String, Account>;

/// A user's password and quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The password as it is stored.
    pub password: StoredPassword,
    /// The most bytes that the files of the user may have.
    pub quota: Option<u64>,
}

/// The properties of a file that change when the file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Accounts {
    /// The accounts in the file at `path`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a line is no account. A warning is logged if other users can
    /// read the file.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, AccountsError> {
        let path = path.into();
        let metadata = fs::metadata(&path).map_err(|error| AccountsError::of_read(&path, error))?;
        if metadata.mode() & 0o077 != 0 {
            log::warn!(
                "other users can read {}, which has the hashes of passwords; chmod 600 ends that",
                path.display()
            );
        }
        let accounts = Self {
            path,
            read: Mutex::new(None),
            is_reported: AtomicBool::new(false),
        };
        accounts.table()?;
        Ok(accounts)
    }

    /// The accounts as they are in the file now. `None` if the file is missing or broken, which is
    /// logged once.
    pub(super) fn table_or_log(&self) -> Option<Arc<Table>> {
        match self.table() {
            Ok(table) => {
                self.is_reported.store(false, Ordering::Relaxed);
                Some(table)
            }
            Err(error) => {
                if !self.is_reported.swap(true, Ordering::Relaxed) {
                    log::error!("{error}");
                }
                None
            }
        }
    }

    /// The accounts as they are in the file now.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open): a file that is missing or broken has no accounts.
    pub fn table(&self) -> Result<Arc<Table>, AccountsError> {
        let failed = |error| AccountsError::of_read(&self.path, error);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&fs::metadata(&self.path).map_err(failed)?);
        if let Some((_, table)) = read.as_ref().filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(table));
        }
        *read = None;
        let mut file = File::open(&self.path).map_err(failed)?;
        // The metadata of the open file, since another file may be at the path now.
        let stamp = self::stamp(&file.metadata().map_err(failed)?);
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let table = Arc::new(parse(&self.path, &text)?);
        *read = Some((stamp, Arc::clone(&table)));
        Ok(table)
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        file: (metadata.dev(), metadata.ino()),
        size: metadata.size(),
        written: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// The accounts of a text.
pub(super) fn parse(path: &Path, text: &str) -> Result<Table, AccountsError> {
    let mut table = Table::new();
    for (number, line) in (1..).zip(text.lines()) {
        let wrong = |why| AccountsError::Line(path.to_owned(), number, why);
        let Some((name, account)) = parse_line(line).map_err(wrong)? else {
            continue;
        };
        if table.insert(name.to_owned(), account).is_some() {
            return Err(wrong(LineError::Twice));
        }
    }
    Ok(table)
}

/// The account of a line; `None` if the line has none.
fn parse_line(line: &str) -> Result<Option<(&str, Account)>, LineError> {
    let Some(name) = name_of(line) else {
        return Ok(None);
    };
    check_name(name)?;
    let rest = line.get(name.len() + 1..).ok_or(LineError::NoEntry)?;
    let (entry, quota) = match rest.split_once(':') {
        Some((entry, quota)) => {
            let quota = quota.trim_end().parse().map_err(|_| LineError::Quota)?;
            (entry, Some(quota))
        }
        None => (rest, None),
    };
    let password = entry.trim_end().parse().map_err(LineError::Password)?;
    Ok(Some((name, Account { password, quota })))
}

/// The name of the account in a line; `None` for an empty line or a comment.
pub(super) fn name_of(line: &str) -> Option<&str> {
    let is_empty = line.trim().is_empty() || line.starts_with('#');
    (!is_empty).then(|| line.split(':').next().unwrap_or(line))
}

/// Accepts the name of a user, which is the name of the home too.
///
/// # Errors
///
/// [`LineError::Name`].
pub(super) fn check_name(name: &str) -> Result<(), LineError> {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    let begins_well = name
        .as_bytes()
        .first()
        .is_some_and(u8::is_ascii_alphanumeric);
    match begins_well && name.len() <= 64 && name.bytes().all(is_usual) {
        true => Ok(()),
        false => Err(LineError::Name),
    }
}

/// Why the accounts of a file cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsError {
    /// The file cannot be read or written.
    #[error("the accounts in {0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The file does not exist.
    #[error("the accounts in {0}: {1}; \"socketserver users add\" makes such a file")]
    Missing(PathBuf, #[source] io::Error),
    /// A line is not an account.
    #[error("the accounts in {0}, line {1}: {2}")]
    Line(PathBuf, usize, #[source] LineError),
    /// The name of a new user is not possible.
    #[error("{0}")]
    Name(#[from] LineError),
    /// The user exists already.
    #[error("there is a user {0} already; \"socketserver users passwd\" changes the password")]
    Exists(String),
    /// The user does not exist.
    #[error("there is no user {0}; \"socketserver users list\" shows all")]
    Unknown(String),
}

impl AccountsError {
    /// The file at `path` cannot be opened or read.
    pub(super) fn of_read(path: &Path, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path.to_owned(), error),
            _ => Self::Io(path.to_owned(), error),
        }
    }
}

/// Why a line is not an account.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// The name is not possible.
    #[error(
        "the name of a user has 1 to 64 letters, digits, dots, hyphens, underscores and @, and \
         begins with a letter or a digit"
    )]
    Name,
    /// There is no password.
    #[error("the line has no entry of a password: NAME:ENTRY or NAME:ENTRY:QUOTA")]
    NoEntry,
    /// The entry is not the entry of a password.
    #[error(transparent)]
    Password(PasswordError),
    /// The quota is not a number.
    #[error("the quota is no number of bytes")]
    Quota,
    /// Two lines have the same user.
    #[error("the user has a line before")]
    Twice,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: &str = "$argon2id$v=19$m=19456,t=2,p=1$wmdXlCCHiWQWzURktywvtg\
                         $rkiJ8eyigr92+TDPBnsXC6e8+DYyHyURJN6cEpHUkF4";

    fn parsed(text: &str) -> Result<Table, AccountsError> {
        parse(Path::new("users"), text)
    }

    #[test]
    fn a_line_has_a_name_an_entry_and_perhaps_a_quota() {
        let table = parsed(&format!("# users\n\nada:{ENTRY}\nbob:{ENTRY}:1000\n")).unwrap();
        assert_eq!(Vec::from_iter(table.keys()), ["ada", "bob"]);
        assert_eq!(table["ada"].quota, None);
        assert_eq!(table["bob"].quota, Some(1000));
    }

    #[test]
    fn a_line_that_is_no_account_is_refused_with_its_number_and_the_reason() {
        for (line, reason) in [
            ("ada".to_owned(), "no entry"),
            ("ada:".to_owned(), "entry"),
            (format!("ada:{ENTRY}:much"), "no number"),
            (format!("ada:{ENTRY}:-1"), "no number"),
            (format!(":{ENTRY}"), "the name of a user"),
            (format!("..:{ENTRY}"), "the name of a user"),
            (format!(".ada:{ENTRY}"), "the name of a user"),
            (format!("a/b:{ENTRY}"), "the name of a user"),
            (format!("ada:{ENTRY}\nada:{ENTRY}"), "a line before"),
        ] {
            let error = parsed(&format!("# users\n{line}\n"))
                .unwrap_err()
                .to_string();
            assert!(error.contains(reason), "{line}: {error}");
            assert!(error.contains("line "), "{error}");
        }
    }

    #[test]
    fn a_file_that_has_changed_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        fs::write(&path, format!("ada:{ENTRY}\n")).unwrap();
        let accounts = Accounts::open(&path).unwrap();
        let before = accounts.table().unwrap();
        assert!(Arc::ptr_eq(&before, &accounts.table().unwrap()));
        fs::write(&path, format!("ada:{ENTRY}\nbob:{ENTRY}\n")).unwrap();
        assert!(accounts.table().unwrap().contains_key("bob"));
        fs::write(&path, "ada\n").unwrap();
        accounts.table().unwrap_err();
        fs::remove_file(&path).unwrap();
        accounts.table().unwrap_err();
    }

    proptest! {
        #[test]
        fn any_text_is_accounts_or_an_error(text: String) {
            let _ = parsed(&text);
            let _ = parsed(&format!("ada:{text}"));
        }
    }
}
