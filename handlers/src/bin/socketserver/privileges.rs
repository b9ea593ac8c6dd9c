//! The user that the program becomes once its sockets are bound.

use std::ffi::CString;
use std::io;

use nix::unistd::{
    Gid, Group, Uid, User, getegid, geteuid, getgid, getgrouplist, getgroups, getresuid, getuid,
    setgroups, setresgid, setresuid, setuid,
};

use crate::failure::Failure;

/// A user with its groups, whose rights the program keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    text: String,
    user: Uid,
    group: Gid,
    /// The supplementary groups.
    groups: Vec<Gid>,
}

/// Reads `USER[:GROUP]`, each by name or number.
pub fn identity(text: &str) -> Result<Identity, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let entry = match user.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(user),
    };
    let entry = entry.map_err(|error| format!("the user cannot be looked up: {error}"))?;
    let number = match (&entry, user.parse()) {
        (Some(entry), _) => entry.uid,
        (None, Ok(number)) => Uid::from_raw(number),
        (None, Err(_)) => return Err("there is no user of this name".to_owned()),
    };
    if number.is_root() {
        return Err("root has all privileges; name another user".to_owned());
    }
    let group = match (group, &entry) {
        (Some(group), _) => group_by_text(group)?,
        (None, Some(entry)) => entry.gid,
        (None, None) => {
            return Err(
                "the system has no entry for this user, and so no group; write USER:GROUP"
                    .to_owned(),
            );
        }
    };
    let groups = match &entry {
        None => vec![group],
        Some(entry) => {
            let name = CString::new(entry.name.as_bytes());
            let name = name.map_err(|_| "the name of the user has a byte 0".to_owned())?;
            getgrouplist(&name, group)
                .map_err(|error| format!("the groups of the user cannot be looked up: {error}"))?
        }
    };
    Ok(Identity {
        text: text.to_owned(),
        user: number,
        group,
        groups,
    })
}

fn group_by_text(text: &str) -> Result<Gid, String> {
    if let Ok(number) = text.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(text) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err("there is no group of this name".to_owned()),
        Err(error) => Err(format!("the group cannot be looked up: {error}")),
    }
}

impl Identity {
    /// Whether the program may become another user.
    ///
    /// # Errors
    ///
    /// If it is not root.
    pub fn permit(&self) -> Result<(), Failure> {
        match geteuid().is_root() || self.is_assumed() {
            true => Ok(()),
            false => Err(Failure::Privileges(format!(
                "cannot become the user {}: only root can; start the program as root, or as that \
                 user without --user",
                self.text
            ))),
        }
    }

    /// Gives up the rights of root in every thread of the process, and checks that they are gone.
    ///
    /// # Errors
    ///
    /// If the system refuses a step, or the process still has a right that it should have lost.
    pub fn assume(&self) -> Result<(), Failure> {
        if self.is_assumed() {
            return Ok(());
        }
        let failed = |step: &str, error: io::Error| {
            let text = &self.text;
            Failure::Privileges(format!("cannot become the user {text}: {step}: {error}"))
        };
        // In this order, because no other step is possible without the rights of root. The C
        // library changes all threads of the process.
        setgroups(&self.groups).map_err(|error| failed("setgroups", error.into()))?;
        let (group, user) = (self.group, self.user);
        setresgid(group, group, group).map_err(|error| failed("setresgid", error.into()))?;
        setresuid(user, user, user).map_err(|error| failed("setresuid", error.into()))?;
        match self.left() {
            None => Ok(()),
            Some(right) => Err(failed(
                "the process has kept a right",
                io::Error::other(right),
            )),
        }
    }

    /// Whether the program is the user already: it is the successor of a program that has become
    /// the user.
    fn is_assumed(&self) -> bool {
        !geteuid().is_root() && self.left().is_none()
    }

    /// A right that the process should not have any more.
    fn left(&self) -> Option<&'static str> {
        let mut groups = getgroups().unwrap_or_default();
        let mut expected = self.groups.clone();
        for groups in [&mut groups, &mut expected] {
            groups.sort_unstable_by_key(|group| group.as_raw());
            groups.dedup();
        }
        let users = getresuid().map(|it| [it.real, it.effective, it.saved]);
        if users != Ok([self.user; 3]) || getuid() != self.user {
            Some("a user id")
        } else if getgid() != self.group || getegid() != self.group {
            Some("a group id")
        } else if groups != expected {
            Some("a supplementary group")
        } else if setuid(Uid::from_raw(0)).is_ok() {
            Some("root can be regained")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_name_or_a_number_with_or_without_a_group() {
        let by_number = identity("12345:23456").unwrap();
        assert_eq!(by_number.user, Uid::from_raw(12345));
        assert_eq!(by_number.group, Gid::from_raw(23456));
        assert_eq!(by_number.groups, [Gid::from_raw(23456)]);
        let Ok(Some(nobody)) = User::from_name("nobody") else {
            println!("skipped: there is no user nobody");
            return;
        };
        let by_name = identity("nobody").unwrap();
        assert_eq!((by_name.user, by_name.group), (nobody.uid, nobody.gid));
        let with_group = identity("nobody:23456").unwrap();
        assert_eq!(with_group.group, Gid::from_raw(23456));
        assert!(with_group.groups.contains(&Gid::from_raw(23456)));
    }

    #[test]
    fn a_user_that_is_root_or_nobody_knows_is_refused() {
        for (text, expected) in [
            ("root", "root"),
            ("0", "root"),
            ("0:1", "root"),
            ("no-such-user", "no user"),
            ("54321", "USER:GROUP"),
            ("12345:no-such-group", "no group"),
            ("", "no user"),
        ] {
            let message = identity(text).unwrap_err();
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }
}
