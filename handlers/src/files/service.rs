//! The state that all sessions of a file service share: [`FileService`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

use crate::files::accounts::{Accounts, AccountsError};
use crate::files::locks::Locks;
use crate::password::{PasswordError, StoredPassword};

/// The directory of the service's own files. No user has a name that begins with a dot.
const STATE: &str = ".socketserver";

/// A file service: users with passwords, each with a home directory.
///
/// [`FileSession`](crate::files::FileSession) is the handler of a connection; a clone of the
/// service shares everything. The homes are directories in the root, with the names of the users; a
/// home is made at the first login. The root has a directory `.socketserver` too, for locks and for
/// the numbers behind quotas.
///
/// The handler is an [`ExchangeHandler`](socketserver::ExchangeHandler), and serves under every
/// mix-in. The shared state is in files and in locks of the kernel, so that forked children share
/// it too.
///
/// ```no_run
/// use socketserver::ThreadingTcpServer;
/// use socketserver_handlers::files::{FileService, FileSession};
///
/// let service = FileService::new("/srv/homes", "/etc/files.users")?.quota(1 << 30);
/// let factory = move || FileSession::new(service.clone());
/// let server = ThreadingTcpServer::bind("127.0.0.1:8021", factory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FileService {
    shared: Arc<Shared>,
    quota: Option<u64>,
    takes_plain_passwords: bool,
}

#[derive(Debug)]
struct Shared {
    root: OwnedFd,
    state: OwnedFd,
    accounts: Accounts,
    locks: Locks,
    /// A password for users who do not exist, so that the check of their logins takes as long as
    /// that of others.
    nobody: StoredPassword,
}

impl FileService {
    /// A service for the users in the file `users`, with the homes in the directory `root`.
    ///
    /// # Errors
    ///
    /// If one of the two cannot be read, the root cannot be written, the system has no random
    /// bytes, or the kernel has no openat2, which came with Linux 5.6.
    pub fn new(root: impl AsRef<Path>, users: impl Into<PathBuf>) -> Result<Self, ServiceError> {
        let path = root.as_ref();
        let failed = |error: io::Error| ServiceError::Root(path.to_owned(), error);
        let root = File::open(path).map_err(failed)?;
        let (root, state) = open(root.into()).map_err(failed)?;
        let locks = Locks::new(state.try_clone().map_err(failed)?);
        let shared = Shared {
            root,
            state,
            accounts: Accounts::open(users)?,
            locks,
            nobody: StoredPassword::new("nobody")?,
        };
        Ok(Self {
            shared: Arc::new(shared),
            quota: None,
            takes_plain_passwords: false,
        })
    }

    /// Sets how many bytes the files of a user may have, unless the account of the user has its own
    /// quota. Without a quota only the disk is a bound.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota = Some(bytes);
        self
    }

    /// Accepts passwords over connections that are neither encrypted nor on this machine. Everybody
    /// between client and server can then read the passwords and all files.
    #[must_use]
    pub fn allow_plain_passwords(mut self) -> Self {
        self.takes_plain_passwords = true;
        self
    }

    pub(super) fn default_quota(&self) -> Option<u64> {
        self.quota
    }

    pub(super) fn takes_plain_passwords(&self) -> bool {
        self.takes_plain_passwords
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.shared.root.as_fd()
    }

    pub(super) fn state(&self) -> BorrowedFd<'_> {
        self.shared.state.as_fd()
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.shared.accounts
    }

    pub(super) fn locks(&self) -> &Locks {
        &self.shared.locks
    }

    pub(super) fn nobody(&self) -> &StoredPassword {
        &self.shared.nobody
    }
}

/// Opens the directory of the service's own files, and makes sure that the kernel has openat2.
fn open(root: OwnedFd) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    match mkdirat(&root, STATE, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let state = openat(&root, STATE, flags, Mode::empty())?;
    openat2(&root, ".", flags, Mode::empty(), ResolveFlags::BENEATH)?;
    Ok((root, state))
}

/// Why the file service cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The directory of the homes cannot be used.
    #[error("the directory of the homes, {0}: {1}; the server has to be able to write to it")]
    Root(PathBuf, #[source] io::Error),
    /// The accounts cannot be read.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// There is no password for users who do not exist.
    #[error(transparent)]
    Password(#[from] PasswordError),
}
