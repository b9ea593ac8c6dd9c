//! Names and paths: whatever a path is, it stays in the home.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use proptest::prelude::*;
use socketserver_handlers::files::{Answer, Code, Entry, Kind, escape};

use crate::site::{Site, codes, hash, on, put_at_once, rename};

#[test]
fn every_name_that_the_system_takes_comes_and_goes() {
    let site = Site::new();
    let names: [&[u8]; 8] = [
        &[b'x'; 255],
        b"caf\xe9",
        "café".as_bytes(),
        b"two\nlines\r",
        b"100%25 %FF",
        b" ",
        b"...",
        b"\x01\x7f\"\\\xff",
    ];
    for name in names {
        let text = escape(name);
        let mut replies = site.ada(&[
            put_at_once(&text, name),
            on("stat", &text),
            on("list", "."),
            on("get", &text),
            rename(&text, "other"),
            rename("other", &text),
        ]);
        assert_eq!(
            fs::read(site.home("").join(OsStr::from_bytes(name))).unwrap(),
            name
        );
        let entry = match replies.remove(2).unwrap().0 {
            Answer::Entry { entry } => entry,
            other => panic!("{other:?}"),
        };
        assert_eq!(entry.name, text);
        let entries: Vec<Entry> = vec![entry];
        assert_eq!(replies.remove(2).unwrap().0, Answer::Entries { entries });
        let content: Vec<u8> = replies
            .iter()
            .flatten()
            .flat_map(|(_, body)| body.clone())
            .collect();
        assert_eq!(content, name);
        assert!(codes(replies).iter().all(Option::is_none));
        assert_eq!(codes(site.ada(&[on("remove", &text)])), [None]);
    }
    assert_eq!(fs::read_dir(site.home("")).unwrap().count(), 0);
}

/// A tree in the home, with links that lead anywhere.
#[derive(Debug, Clone)]
enum Node {
    Directory(PathBuf),
    File(PathBuf),
    Link(PathBuf, String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => "[abc]",
        2 => Just("..".to_owned()),
        1 => Just(".".to_owned()),
        1 => Just("outside".to_owned()),
        1 => Just("ada".to_owned()),
        1 => Just(String::new()),
    ];
    (prop::bool::weighted(0.2), prop::collection::vec(name, 1..6)).prop_map(|(slash, names)| {
        let path = names.join("/");
        let path = if path.is_empty() {
            ".".to_owned()
        } else {
            path
        };
        if slash { format!("/{path}") } else { path }
    })
}

fn node() -> impl Strategy<Value = Node> {
    let place = prop::collection::vec("[abc]", 1..4).prop_map(PathBuf::from_iter);
    (place, 0..3, path()).prop_map(|(place, kind, target)| match kind {
        0 => Node::Directory(place),
        1 => Node::File(place),
        _ => Node::Link(place, target),
    })
}

/// What a path means by the rules of the protocol's page, worked out name by name.
fn model(home: &Path, path: &str) -> Result<PathBuf, Code> {
    let mut inside = PathBuf::new();
    let mut rest = Vec::from_iter(
        path.trim_start_matches('/')
            .split('/')
            .rev()
            .map(str::to_owned),
    );
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let here = home.join(&inside);
        if !fs::metadata(&here).map_err(|_| Code::NotFound)?.is_dir() {
            return Err(Code::NotADirectory);
        }
        match &*name {
            "" | "." => continue,
            ".." if inside.pop() => continue,
            ".." => return Err(Code::Outside),
            _ => {}
        }
        let metadata = fs::symlink_metadata(here.join(&name)).map_err(|_| Code::NotFound)?;
        if !metadata.is_symlink() {
            inside.push(name);
            continue;
        }
        links += 1;
        if links > 40 {
            return Err(Code::Loop);
        }
        let target = fs::read_link(here.join(&name)).unwrap();
        let target = target.to_str().unwrap();
        if target.starts_with('/') {
            return Err(Code::Outside);
        }
        rest.extend(target.split('/').rev().map(str::to_owned));
    }
    Ok(home.join(inside))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_path_leads_out_of_the_home_and_every_other_path_means_what_it_means_to_the_system(
        nodes in prop::collection::vec(node(), 0..12),
        paths in prop::collection::vec(path(), 40),
    ) {
        static SITE: LazyLock<Site> = LazyLock::new(Site::new);
        let home = SITE.home("");
        let home = home.parent().unwrap().join("ada");
        fs::remove_dir_all(&home).unwrap();
        fs::create_dir(&home).unwrap();
        // Beside the home: what nobody may reach.
        let _ = fs::create_dir(home.with_file_name("outside"));
        fs::write(home.with_file_name("outside").join("a"), "secret").unwrap();
        for node in nodes {
            let (Node::Directory(place) | Node::File(place) | Node::Link(place, _)) = &node;
            let place = home.join(place);
            // A link on the way leads anywhere, and the tree is to be below the home.
            let parent = place.parent().unwrap();
            if fs::create_dir_all(parent).is_err()
                || !fs::canonicalize(parent).unwrap().starts_with(fs::canonicalize(&home).unwrap())
            {
                continue;
            }
            // What is there already stays.
            let _ = match &node {
                Node::Directory(_) => fs::create_dir(&place),
                Node::File(_) if fs::symlink_metadata(&place).is_ok() => Ok(()),
                Node::File(_) => fs::write(&place, place.as_os_str().as_bytes()),
                Node::Link(_, target) => symlink(target, &place),
            };
        }
        let messages = Vec::from_iter(paths.iter().map(|path| on("stat", path)));
        let mut replies = SITE.ada(&messages).into_iter();
        replies.next().unwrap().unwrap();
        for (path, reply) in paths.iter().zip(replies) {
            let expected = model(&home, path);
            match (&expected, reply) {
                (Ok(place), Ok((Answer::Entry { entry }, _))) => {
                    let real = fs::canonicalize(home.join(path.trim_start_matches('/'))).unwrap();
                    let real_home = fs::canonicalize(&home).unwrap();
                    prop_assert!(real.starts_with(&real_home), "{path} is {real:?}");
                    prop_assert_eq!(&real, &fs::canonicalize(place).unwrap());
                    let metadata = fs::metadata(&real).unwrap();
                    prop_assert_eq!(entry.kind == Kind::Directory, metadata.is_dir());
                    prop_assert_eq!(entry.size, metadata.len());
                }
                (Err(code), Err(refusal)) => prop_assert_eq!(refusal.code(), *code, "{}", path),
                (_, reply) => prop_assert!(false, "{path}: {expected:?}, {reply:?}"),
            }
        }
    }
}

#[test]
fn who_exchanges_a_directory_for_a_link_meanwhile_gains_nothing() {
    let site = Site::new();
    let outside = site.directory.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    fs::create_dir(site.home("inside")).unwrap();
    fs::write(site.home("inside/file"), "public").unwrap();
    symlink(&outside, site.home("link")).unwrap();
    let stop = AtomicBool::new(false);
    let [inside, link, free] = ["inside", "link", "free"].map(|name| site.home(name));
    thread::scope(|scope| {
        scope.spawn(|| {
            // Relaxed: the scope ends after the thread.
            while !stop.load(Ordering::Relaxed) {
                fs::rename(&inside, &free).unwrap();
                fs::rename(&link, &inside).unwrap();
                fs::rename(&inside, &link).unwrap();
                fs::rename(&free, &inside).unwrap();
            }
        });
        let messages = Vec::from_iter((0..600).map(|number| match number % 3 {
            0 => on("get", "inside/file"),
            1 => put_at_once(&format!("inside/new{number}"), b"mine"),
            _ => on("remove", "inside/../inside/missing"),
        }));
        for reply in site.ada(&messages) {
            match reply {
                Ok((Answer::Part { .. }, body)) => assert_eq!(body, b"public"),
                Ok((Answer::Sent { hash: sent, .. }, _)) => assert_eq!(sent, hash(b"public")),
                Ok(_) => {}
                Err(refusal) => assert!(
                    matches!(refusal.code(), Code::Outside | Code::NotFound | Code::Busy),
                    "{refusal:?}"
                ),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}
