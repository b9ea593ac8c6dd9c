//! A program with its arguments, found and ready to start.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{SigSet, SigmaskHow};
use nix::unistd::{AccessFlags, access};

use crate::exec::environment::{Variables, inherited};

/// Where programs are looked for if the environment has no `PATH`, as by execvp(3).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program with its arguments and the environment that it inherits.
#[derive(Debug)]
pub struct Program {
    /// The file, with a slash, so that it is not looked for again at each start.
    file: PathBuf,
    /// As the user has typed it: the program's `argv[0]`.
    name: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

/// Why a program cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// No directory of `PATH` has a program of this name.
    #[error(
        "there is no program {name:?} in the directories of PATH; check its name, or give its path"
    )]
    NotFound {
        /// The name as it was given.
        name: OsString,
    },
    /// The file does not exist, is not a file, or must not be executed.
    #[error("{} cannot be executed: {source}", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Program {
    /// Finds the program `name`: a path if it has a slash, or else a file in one of the directories
    /// of `PATH`. The program inherits the environment that this process has at the time of the
    /// call.
    ///
    /// # Errors
    ///
    /// If there is no such file, or this process must not execute it. An executable file that is
    /// not a program fails only when it is started.
    pub fn find<A: Into<OsString>>(
        name: impl Into<OsString>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, ProgramError> {
        let name = name.into();
        let file = match has_slash(&name) {
            true => {
                let path = PathBuf::from(&name);
                match ensure_executable(&path) {
                    Ok(()) => path,
                    Err(source) => return Err(ProgramError::NotExecutable { path, source }),
                }
            }
            false => in_path(&name)?,
        };
        Ok(Self {
            file,
            name,
            arguments: arguments.into_iter().map(Into::into).collect(),
            environment: inherited(env::vars_os()),
        })
    }

    /// The name as it was given.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Starts the program in this process group, or as the leader of a new group if it is 0.
    ///
    /// No step needs code between fork and exec, so that the standard library starts the program
    /// with posix_spawn(3), which does not copy the memory of this process.
    pub(super) fn start(
        &self,
        group: i32,
        variables: Variables,
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    ) -> io::Result<Child> {
        let mut command = Command::new(&self.file);
        command
            .arg0(&self.name)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(variables)
            .process_group(group)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        let started = without_blocked_signals(|| command.spawn());
        started.map_err(|error| {
            let what = format!("cannot start {}: {error}", self.file.display());
            io::Error::new(error.kind(), what)
        })
    }
}

/// Calls `start` with an empty signal mask, which the program inherits: few programs look at their
/// mask, and a program that begins with a blocked SIGTERM cannot be ended by it.
fn without_blocked_signals<T>(start: impl FnOnce() -> T) -> T {
    let before = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let started = start();
    if let Ok(before) = before {
        // pthread_sigmask(3) fails for an invalid `how` only.
        let _ = before.thread_set_mask();
    }
    started
}

fn has_slash(name: &OsStr) -> bool {
    name.as_encoded_bytes().contains(&b'/')
}

/// The first file of this name in `PATH` that this process may execute.
fn in_path(name: &OsStr) -> Result<PathBuf, ProgramError> {
    let path = env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut refused = None;
    if !name.is_empty() {
        for directory in env::split_paths(&path) {
            // An empty entry is the present directory.
            let file = Path::new(".").join(directory).join(name);
            match ensure_executable(&file) {
                Ok(()) => return Ok(file),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    refused.get_or_insert((file, error));
                }
                Err(_) => {}
            }
        }
    }
    Err(match refused {
        Some((path, source)) => ProgramError::NotExecutable { path, source },
        None => ProgramError::NotFound { name: name.into() },
    })
}

fn ensure_executable(path: &Path) -> io::Result<()> {
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    access(path, AccessFlags::X_OK)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn find(name: &str) -> Result<Program, ProgramError> {
        Program::find(name, [""; 0])
    }

    #[test]
    fn a_program_is_found_in_the_path_or_at_its_own_path() {
        let shell = find("sh").unwrap();
        assert!(shell.file.is_absolute(), "{shell:?}");
        assert_eq!(shell.name(), "sh");
        assert_eq!(find("/bin/sh").unwrap().file, Path::new("/bin/sh"));
    }

    #[test]
    fn what_cannot_be_executed_is_named_with_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        fs::write(&plain, "no program").unwrap();
        for (name, expected) in [
            ("no-such-program", "no program \"no-such-program\""),
            ("", "no program \"\""),
            ("./no-such-program", "No such file"),
            ("/", "directory"),
            (plain.to_str().unwrap(), "plain cannot be executed: "),
        ] {
            let error = find(name).unwrap_err().to_string();
            assert!(error.contains(expected), "{name:?}: {error}");
        }
    }
}
