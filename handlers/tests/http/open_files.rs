//! Small files that stay open between requests.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use socketserver_handlers::http::StaticFiles;

use crate::replies::Reply;
use crate::site::{Site, request};

fn get(files: &StaticFiles, target: &str) -> Reply {
    request(files.clone(), "GET", target, &[])
}

/// The number of descriptors of this process for files below the directory.
fn open_below(directory: &Path) -> usize {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap();
    let paths = descriptors.filter_map(|it| fs::read_link(it.unwrap().path()).ok());
    // A removed file has its former path, with a remark behind.
    paths.filter(|it| it.starts_with(directory)).count()
}

#[test]
fn each_change_of_a_file_that_was_served_is_visible_at_once() {
    let site = Site::new(&[("a", "first")]);
    fs::write(site.outside().join("secret"), "secret").unwrap();
    let files = site.files();
    type Change = fn(&Site);
    let changes: &[(&str, Change, u16, &str)] = &[
        ("nothing", |_| (), 200, "first"),
        ("written", |site| site.write("a", "other"), 200, "other"),
        (
            "longer",
            |site| site.write("a", "a long one"),
            200,
            "a long one",
        ),
        ("shorter", |site| site.write("a", "a"), 200, "a"),
        (
            "replaced by a file of the same length and time",
            |site| {
                let time = fs::metadata(site.path("a")).unwrap().modified().unwrap();
                site.write("b", "b");
                let new = fs::File::options().write(true).open(site.path("b"));
                new.unwrap().set_modified(time).unwrap();
                fs::rename(site.path("b"), site.path("a")).unwrap();
            },
            200,
            "b",
        ),
        (
            "replaced by a link",
            |site| {
                site.write("c", "linked");
                fs::remove_file(site.path("a")).unwrap();
                symlink("c", site.path("a")).unwrap();
            },
            200,
            "linked",
        ),
        (
            "the link leads out of the root",
            |site| {
                fs::remove_file(site.path("a")).unwrap();
                symlink("../secret", site.path("a")).unwrap();
            },
            404,
            "",
        ),
        (
            "a file again",
            |site| {
                fs::remove_file(site.path("a")).unwrap();
                site.write("a", "again");
            },
            200,
            "again",
        ),
        (
            "removed",
            |site| fs::remove_file(site.path("a")).unwrap(),
            404,
            "",
        ),
        (
            "replaced by a directory",
            |site| fs::create_dir(site.path("a")).unwrap(),
            301,
            "",
        ),
    ];
    for (what, change, status, content) in changes {
        change(&site);
        for time in ["at once", "again"] {
            let reply = get(&files, "/a");
            assert_eq!(reply.status, *status, "{what}, {time}");
            if *status == 200 {
                assert_eq!(reply.text(), *content, "{what}, {time}");
            }
        }
    }
}

#[test]
fn a_file_that_may_no_longer_be_read_is_not_served() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: the superuser may read every file");
        return;
    }
    let site = Site::new(&[("a", "content")]);
    let files = site.files();
    assert_eq!(get(&files, "/a").status, 200);
    fs::set_permissions(site.path("a"), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(get(&files, "/a").status, 403);
}

#[test]
fn few_files_stay_open_and_no_large_one() {
    let site = Site::new(&[]);
    let files = site.files();
    let only_root = open_below(site.outside());
    site.write("large", vec![0; 100_000]);
    assert_eq!(get(&files, "/large").body.len(), 100_000);
    assert_eq!(open_below(site.outside()), only_root);
    for number in 0..100 {
        let name = number.to_string();
        site.write(&name, &name);
        // The first one is used again and again, and stays.
        for name in [&name, "0"] {
            assert_eq!(get(&files, &format!("/{name}")).text(), name);
        }
    }
    let open = open_below(site.outside()) - only_root;
    assert_eq!(open, 32);
    assert_eq!(open_below(&site.path("0")), 1);
    drop(files);
    assert_eq!(open_below(site.outside()), 0);
}

#[test]
fn the_files_of_a_replaced_root_are_not_those_of_the_former_root() {
    let site = Site::new(&[("a", "old")]);
    let files = site.files();
    assert_eq!(get(&files, "/a").text(), "old");
    fs::rename(site.root(), site.outside().join("former")).unwrap();
    site.write("a", "new");
    support::waiting::eventually("the new file is served", || {
        get(&files, "/a").text() == "new"
    });
}
