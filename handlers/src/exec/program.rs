//! A program with its arguments, found and ready to start.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::iter;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{AccessFlags, Pid, access};

use crate::exec::environment::{Variables, entries, inherited};

/// Where programs are looked for if the environment has no `PATH`, as by execvp(3).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program with its arguments and the environment that it inherits, in the form that
/// posix_spawn(3) takes.
#[derive(Debug)]
pub struct Program {
    /// The file, with a slash, so that it is not looked for again at each start.
    file: CString,
    /// As the user has typed it: the program's `argv[0]`.
    name: OsString,
    /// The name, and the arguments behind it.
    arguments: Vec<CString>,
    /// Each `NAME=VALUE`.
    environment: Vec<CString>,
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
    /// The name or an argument has a byte 0, where the system ends an argument.
    #[error("the name or an argument of the program {name:?} has a byte 0; remove the byte")]
    ZeroByte {
        /// The name as it was given.
        name: OsString,
    },
}

impl Program {
    /// Finds the program `name`: a path if it has a slash, or else a file in one of the directories
    /// of `PATH`. The program inherits the environment that this process has at the time of the
    /// call.
    ///
    /// # Errors
    ///
    /// If there is no such file, if this process must not execute it, or if the name or an argument
    /// has a byte 0. An executable file that is not a program fails only when it is started.
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
            false => in_path(&name, env::var_os("PATH"))?,
        };
        let words = iter::once(name.clone()).chain(arguments.into_iter().map(Into::into));
        let words = words.map(|word| CString::new(word.into_vec())).collect();
        let (Ok(file), Ok(arguments)) = (CString::new(file.into_os_string().into_vec()), words)
        else {
            return Err(ProgramError::ZeroByte { name });
        };
        Ok(Self {
            file,
            name,
            arguments,
            environment: inherited(env::vars_os()),
        })
    }

    /// The name as it was given.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Starts the program with these standard streams, in this process group, or as the leader of a
    /// new group if it is 0. Returns the id of the child, which the caller has to reap.
    ///
    /// posix_spawn(3) does not copy the memory of this process. The standard library's `Command`
    /// calls it too, but needs copies of the streams, and sorts the whole environment each time.
    pub(super) fn start(
        &self,
        group: Pid,
        variables: Variables,
        streams: [BorrowedFd<'_>; 3],
    ) -> io::Result<Pid> {
        self.spawn(group, variables, streams).map_err(|error| {
            let file = Path::new(OsStr::from_bytes(self.file.as_bytes())).display();
            io::Error::new(error.kind(), format!("cannot start {file}: {error}"))
        })
    }

    fn spawn(
        &self,
        group: Pid,
        variables: Variables,
        streams: [BorrowedFd<'_>; 3],
    ) -> io::Result<Pid> {
        let mut actions = PosixSpawnFileActions::init()?;
        let mut copies = Vec::new();
        for (to, stream) in (0..).zip(streams) {
            let mut from = stream.as_raw_fd();
            if from <= 2 {
                // The action of another stream would replace it. The copy is above 2.
                let copy = stream.try_clone_to_owned()?;
                from = copy.as_raw_fd();
                copies.push(copy);
            }
            actions.add_dup2(from, to)?;
        }
        let client = entries(variables);
        let environment = self.environment.iter().chain(&client);
        let environment: Vec<&CStr> = environment.map(AsRef::as_ref).collect();
        let attributes = attributes(group)?;
        let file = self.file.as_c_str();
        let child = posix_spawn(file, &actions, &attributes, &self.arguments, &environment)?;
        Ok(child)
    }
}

/// A process group, an empty signal mask, and the default action of `SIGPIPE`. Few programs look at
/// what they inherit: a program that begins with a blocked SIGTERM cannot be ended by it, and the
/// standard library ignores SIGPIPE in this process.
fn attributes(group: Pid) -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF,
    )?;
    attributes.set_pgroup(group)?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    Ok(attributes)
}

fn has_slash(name: &OsStr) -> bool {
    name.as_encoded_bytes().contains(&b'/')
}

/// The first file of this name in the directories of `path` that this process may execute.
fn in_path(name: &OsStr, path: Option<OsString>) -> Result<PathBuf, ProgramError> {
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let mut refused = None;
    if !name.is_empty() {
        for directory in env::split_paths(&path) {
            // An empty entry is the present directory.
            let file = Path::new(".").join(directory).join(name);
            match ensure_executable(&file) {
                Ok(()) => return Ok(file),
                // In a directory that this process must not search, nothing shows that there is
                // such a file.
                Err(error)
                    if error.kind() == io::ErrorKind::PermissionDenied
                        && file.symlink_metadata().is_ok() =>
                {
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
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use nix::unistd::geteuid;

    use super::*;
    use crate::exec::process_end::reap;

    fn find(name: &str) -> Result<Program, ProgramError> {
        Program::find(name, [""; 0])
    }

    #[test]
    fn a_program_is_found_in_the_path_or_at_its_own_path() {
        let shell = find("sh").unwrap();
        assert!(shell.file.as_bytes().starts_with(b"/"), "{shell:?}");
        assert_eq!(shell.name(), "sh");
        assert_eq!(find("/bin/sh").unwrap().file.as_c_str(), c"/bin/sh");
    }

    #[test]
    fn a_word_with_a_byte_0_is_refused() {
        let error = Program::find("sh", ["-c", "echo\0"]).unwrap_err();
        assert!(error.to_string().contains("a byte 0"), "{error}");
        assert!(Program::find("/bin/sh\0", [""; 0]).is_err());
    }

    #[test]
    fn the_streams_of_a_program_may_be_those_of_this_process_in_another_order() {
        let list = "exec 3>&1; readlink /proc/self/fd/0 /proc/self/fd/3 >&2";
        let program = Program::find("sh", ["-c", list]).unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let (input, output) = (io::stdin(), io::stdout());
        let own = [output.as_fd(), input.as_fd()];
        let streams = [own[0], own[1], writer.as_fd()];
        let child = program.start(Pid::from_raw(0), Variables::new(), streams);
        let child = child.unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert!(reap(child).unwrap().success(), "{text}");
        let target = |descriptor: u8| fs::read_link(format!("/proc/self/fd/{descriptor}")).unwrap();
        let expected = [target(1), target(0)].map(|it| it.display().to_string());
        assert_eq!(Vec::from_iter(text.lines()), expected);
    }

    #[test]
    fn a_directory_that_must_not_be_searched_has_no_program() {
        let directory = tempfile::tempdir().unwrap();
        let of = |mode| fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode));
        fs::write(directory.path().join("plain"), "no program").unwrap();
        let find = |name: &str| in_path(name.as_ref(), Some(directory.path().into()));
        let error = find("plain").unwrap_err().to_string();
        assert!(error.contains("plain cannot be executed: "), "{error}");
        if geteuid().is_root() {
            println!("skipped: the superuser may search every directory");
            return;
        }
        of(0o600).unwrap();
        let error = find("plain").unwrap_err().to_string();
        // So that the directory can be removed.
        of(0o700).unwrap();
        assert!(error.contains("there is no program \"plain\""), "{error}");
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
