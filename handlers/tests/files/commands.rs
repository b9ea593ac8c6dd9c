//! The commands on names and directories.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use socketserver_handlers::files::{Answer, Code, Entry, Kind};

use crate::site::{Site, answers, codes, command, on, rename};

fn directory(path: &str) -> Answer {
    let path = path.to_owned();
    Answer::Directory { path }
}

#[test]
fn a_user_moves_in_the_tree() {
    let site = Site::new();
    fs::create_dir_all(site.home("a/b")).unwrap();
    symlink("a/b", site.home("link")).unwrap();
    let replies = site.ada(&[
        command("pwd"),
        on("cd", "a"),
        on("cd", "b/"),
        on("cd", ".."),
        on("cd", "/link"),
        on("cd", "../../a/./b"),
        on("cd", "/"),
        command("quit"),
    ]);
    let paths = ["/", "/a", "/a/b", "/a", "/a/b", "/a/b", "/"].map(directory);
    let answers = answers(replies);
    assert_eq!(answers[..7], paths);
    assert_eq!(answers[7..], [Answer::Bye]);
}

#[test]
fn a_home_is_made_at_the_first_login_and_only_its_owner_may_enter() {
    let site = Site::new();
    fs::remove_dir(site.home("")).unwrap();
    site.ada(&[on("mkdir", "a")]);
    for path in ["", "a"] {
        let mode = fs::metadata(site.home(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

/// The entries of a list, in the order of their names.
fn list(site: &Site, path: &str) -> Vec<Entry> {
    let answers = answers(site.ada(&[on("list", path)]));
    let mut entries = Vec::new();
    for answer in &answers[..answers.len() - 1] {
        match answer {
            Answer::Entries { entries: some } => entries.extend(some.clone()),
            other => panic!("{other:?}"),
        }
    }
    let count = entries.len() as u64;
    assert_eq!(answers.last(), Some(&Answer::End { count }));
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    entries
}

#[test]
fn a_list_has_names_kinds_sizes_and_times() {
    let site = Site::new();
    fs::write(site.home("file"), "12345").unwrap();
    fs::create_dir(site.home("directory")).unwrap();
    symlink("/etc/passwd", site.home("link")).unwrap();
    nix::unistd::mkfifo(&site.home("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let entries = list(&site, ".");
    let kinds = Vec::from_iter(entries.iter().map(|it| (&*it.name, it.kind)));
    let expected = [
        ("directory", Kind::Directory),
        ("fifo", Kind::Other),
        ("file", Kind::File),
        ("link", Kind::Link),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(entries[2].size, 5);
    let modified = fs::metadata(site.home("file")).unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(entries[2].modified, modified.as_secs().cast_signed());
    assert!(
        entries[2]
            .version
            .as_ref()
            .is_some_and(|it| it.len() <= 100)
    );
    assert_eq!(list(&site, "directory"), []);
}

#[test]
fn a_large_directory_comes_in_messages_that_are_bounded() {
    let site = Site::new();
    for number in 0..2000 {
        fs::write(site.home(&format!("{number:0>200}")), "").unwrap();
    }
    let answers = answers(site.ada(&[on("list", "/")]));
    // 2,000 names of 200 bytes are more than one header of 64 KiB can carry.
    assert!(answers.len() > 20);
    assert_eq!(answers.last(), Some(&Answer::End { count: 2000 }));
}

#[test]
fn the_entry_of_a_path_follows_links_inside_of_the_home() {
    let site = Site::new();
    fs::write(site.home("file"), "12345").unwrap();
    symlink("file", site.home("link")).unwrap();
    let answers = answers(site.ada(&[on("stat", "link"), on("stat", "file"), on("stat", "/")]));
    let entry = |answer: &Answer| match answer {
        Answer::Entry { entry } => entry.clone(),
        other => panic!("{other:?}"),
    };
    let [link, file, root] = [0, 1, 2].map(|place| entry(&answers[place]));
    assert_eq!((link.kind, link.size), (Kind::File, 5));
    assert_eq!(link.version, file.version);
    assert_eq!((&*root.name, root.kind), ("", Kind::Directory));
}

#[test]
fn names_are_made_renamed_and_removed() {
    let site = Site::new();
    fs::write(site.home("one"), "1").unwrap();
    symlink("one", site.home("link")).unwrap();
    let replies = site.ada(&[
        on("mkdir", "d/"),
        rename("one", "d/two"),
        rename("d", "e"),
        on("remove", "link"),
        on("remove", "e/two"),
        on("remove", "e"),
    ]);
    let expected = [
        Answer::Made,
        Answer::Renamed,
        Answer::Renamed,
        Answer::Removed,
        Answer::Removed,
        Answer::Removed,
    ];
    assert_eq!(answers(replies), expected);
    assert_eq!(fs::read_dir(site.home("")).unwrap().count(), 0);
}

#[test]
fn a_rename_replaces_only_if_the_client_asks_for_it() {
    let site = Site::new();
    fs::write(site.home("one"), "1").unwrap();
    fs::write(site.home("two"), "2").unwrap();
    let replies = site.ada(&[rename("one", "two"), rename("one", "two").replacing()]);
    assert_eq!(codes(replies), [Some(Code::Exists), None]);
    assert_eq!(fs::read(site.home("two")).unwrap(), b"1");
    assert!(!site.home("one").exists());
}

#[test]
fn the_use_of_the_disk_is_summed() {
    let site = Site::new();
    fs::create_dir(site.home("a")).unwrap();
    fs::write(site.home("a/five"), "12345").unwrap();
    fs::write(site.home("two"), "12").unwrap();
    let answers = answers(site.ada(&[command("du"), on("du", "a")]));
    let [whole, inner] = [0, 1].map(|place| match answers[place] {
        Answer::Usage {
            bytes,
            files,
            directories,
            quota: None,
            used: None,
            free,
        } if free > 0 => (bytes, files, directories),
        ref other => panic!("{other:?}"),
    });
    assert_eq!((whole, inner), ((7, 2, 1), (5, 1, 0)));
}

#[test]
fn each_refusal_has_its_code_and_the_session_goes_on() {
    let site = Site::new();
    fs::create_dir_all(site.home("d/e")).unwrap();
    fs::write(site.home("file"), "12345").unwrap();
    symlink("loop", site.home("loop")).unwrap();
    symlink("/", site.home("absolute")).unwrap();
    symlink("../bob", site.home("up")).unwrap();
    nix::unistd::mkfifo(&site.home("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(site.home("socket")).unwrap();
    let long = "x".repeat(256);
    let deep = "d/".repeat(2048);
    let reserved = format!(".{}.part", "0".repeat(48));
    let cases = [
        (on("cd", "missing"), Code::NotFound),
        (on("cd", "file"), Code::NotADirectory),
        (on("list", "file"), Code::NotADirectory),
        (on("stat", "file/x"), Code::NotADirectory),
        (on("cd", ".."), Code::Outside),
        (on("cd", "d/../.."), Code::Outside),
        (on("get", "/../../../etc/passwd"), Code::Outside),
        (on("get", "absolute/etc/passwd"), Code::Outside),
        (on("list", "up"), Code::Outside),
        (on("mkdir", "up/x"), Code::Outside),
        (on("remove", "absolute/tmp/x"), Code::Outside),
        (rename("file", "up/x"), Code::Outside),
        (on("get", "loop"), Code::Loop),
        (on("get", "d"), Code::IsADirectory),
        (on("get", "fifo"), Code::NotAFile),
        (on("get", "socket"), Code::NotAFile),
        (on("get", ""), Code::BadName),
        (on("get", "a\0b"), Code::BadName),
        (on("get", "a%zz"), Code::BadName),
        (on("mkdir", "/"), Code::BadName),
        (on("mkdir", "d/.."), Code::BadName),
        (on("remove", "."), Code::BadName),
        (on("mkdir", "d"), Code::Exists),
        (on("mkdir", "file"), Code::Exists),
        (on("mkdir", "missing/x"), Code::NotFound),
        (on("mkdir", &long), Code::NameTooLong),
        (on("stat", &deep), Code::NameTooLong),
        (on("mkdir", &reserved), Code::ReservedName),
        (rename("file", &reserved), Code::ReservedName),
        (rename(&reserved, "x"), Code::ReservedName),
        (on("remove", "d"), Code::NotEmpty),
        (on("remove", "file/"), Code::NotADirectory),
        (on("remove", "missing"), Code::NotFound),
        (rename("d", "d/e/f"), Code::BadRequest),
        (rename("missing", "x"), Code::NotFound),
        (rename("d", "file").replacing(), Code::NotADirectory),
        (rename("file", "d").replacing(), Code::IsADirectory),
        (command("cd"), Code::BadRequest),
        (command("rename"), Code::BadRequest),
        (command("fly"), Code::UnknownCommand),
        (command("login"), Code::AlreadyLoggedIn),
    ];
    let messages = Vec::from_iter(cases.iter().map(|(message, _)| message.clone()));
    let replies = site.ada(&messages);
    let codes = codes(replies);
    for ((message, expected), code) in cases.iter().zip(&codes) {
        assert_eq!(*code, Some(*expected), "{:?}", message.0);
    }
    assert_eq!(codes.len(), cases.len());
    drop(socket);
}

#[test]
fn a_tree_that_is_too_deep_to_be_counted_is_refused() {
    let site = Site::new();
    fs::create_dir_all(site.home(&"d/".repeat(130))).unwrap();
    assert_eq!(codes(site.ada(&[command("du")])), [Some(Code::TooDeep)]);
}
