//! Who may connect to a server's Unix socket.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use clap::Args;
use nix::unistd::Group;

use crate::failure::Failure;
use crate::remote::Audience;
use crate::url::Url;

/// The options for the file of a Unix socket.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a Unix socket's file")]
pub struct AccessOptions {
    /// Permissions of the Unix socket's file, in octal, such as 660
    ///
    /// The users who may write to the file may connect: with 600 the owner alone, with 660 the
    /// group too, with 666 everybody. Without this option the umask decides.
    #[arg(long, value_name = "MODE", value_parser = mode)]
    socket_mode: Option<u32>,

    /// Group of the Unix socket's file, by name or number
    ///
    /// With --socket-mode 660 the members of this group may connect. Unless the program is
    /// privileged, its user has to be a member of the group.
    #[arg(long, value_name = "GROUP", value_parser = group)]
    socket_group: Option<u32>,
}

/// The mode and the group of a socket's file; `None` for what the system chooses.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    pub mode: Option<u32>,
    pub group: Option<u32>,
}

impl AccessOptions {
    /// The access to those servers on `urls` whose sockets have a file.
    ///
    /// # Errors
    ///
    /// If one of the options is given, and no socket has a file.
    pub fn over(&self, urls: &[Url]) -> Result<Access, Failure> {
        let option = match (self.socket_mode, self.socket_group) {
            (Some(_), _) => "--socket-mode",
            (None, Some(_)) => "--socket-group",
            (None, None) => "",
        };
        if !option.is_empty() && !urls.iter().any(has_file) {
            let why_not = match urls.iter().any(|url| url.unix_path().is_some()) {
                true => "a name in the abstract namespace has no file",
                false => "tcp://, tls:// and udp:// have no file",
            };
            return Err(Failure::usage(format!(
                "{option} is for the file of a Unix socket, and {why_not}"
            )));
        }
        Ok(Access {
            mode: self.socket_mode,
            group: self.socket_group,
        })
    }
}

impl Access {
    /// The access to a server on `url`: nothing for a socket without a file.
    pub fn at(self, url: &Url) -> Self {
        match has_file(url) {
            true => self,
            false => Self {
                mode: None,
                group: None,
            },
        }
    }

    /// The access to a socket that somebody else has made: the mode of its file now.
    pub fn of_file(url: &Url) -> Self {
        let file = url.unix_path().filter(|path| !is_abstract(path));
        let mode = file.and_then(|path| Some(path.metadata().ok()?.permissions().mode()));
        Self {
            mode: mode.map(|mode| mode & 0o777),
            group: None,
        }
    }

    /// Refuses an address at which other users could send datagrams, if the server serves its own
    /// user alone. About the sender of a datagram, the operating system knows only that the sender
    /// may write to the file of the socket.
    ///
    /// # Errors
    ///
    /// Why the address or the mode is refused, and what to do.
    pub fn permit(self, audience: Audience, url: &Url) -> Result<(), Failure> {
        let (Audience::SameUser, Url::Datagram(_), Some(path)) = (audience, url, url.unix_path())
        else {
            return Ok(());
        };
        let who = if is_abstract(path) {
            "every user of this machine can send to a name in the abstract namespace"
        } else if self.mode.is_some_and(|mode| mode & OTHERS_WRITE != 0) {
            "other users can send to a socket of this --socket-mode"
        } else {
            return Ok(());
        };
        Err(Failure::usage(format!(
            "{who}, and this handler serves only the user who has started it; listen on a path, \
             with a --socket-mode such as 600, or give --serve-any-user if everybody may send"
        )))
    }
}

/// The bits of a mode that let the group and others write.
const OTHERS_WRITE: u32 = 0o022;

fn has_file(url: &Url) -> bool {
    url.unix_path().is_some_and(|path| !is_abstract(path))
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().starts_with(b"\0")
}

fn mode(text: &str) -> Result<u32, String> {
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal);
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "a mode has up to three octal digits, such as 660".to_owned())
}

fn group(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => Err("there is no group of this name".to_owned()),
        Err(error) => Err(format!("the group cannot be looked up: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_octal_and_has_no_more_than_the_rights() {
        assert_eq!(mode("660"), Ok(0o660));
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("0"), Ok(0));
        for text in ["", "1000", "888", "rw-", "0o660", "+60", "-1"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_is_a_number_or_a_name() {
        assert_eq!(group("1234"), Ok(1234));
        let unknown = group("no-such-group").unwrap_err();
        assert!(unknown.contains("no group"), "{unknown}");
    }
}
