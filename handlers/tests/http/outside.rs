//! What the file server does not serve.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use socketserver_handlers::http::StaticFiles;
use support::waiting::eventually;

use crate::site::Site;

#[test]
fn nothing_outside_the_root_is_served_whatever_the_path() {
    let site = Site::new(&[("a", "inside")]);
    fs::write(site.outside().join("secret"), "secret").unwrap();
    for target in [
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/.%2e/secret",
        "//secret",
        "/..%5csecret",
        "/../root/../secret",
        "/etc/passwd",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/proc/self/environ",
    ] {
        assert_eq!(site.get(target, &[]).status, 404, "{target}");
    }
    for target in ["/%", "/%zz"] {
        assert_eq!(site.get(target, &[]).status, 400, "{target}");
    }
    assert_eq!(site.get("/a%00", &[]).status, 404);
}

#[test]
fn links_are_followed_within_the_root_alone() {
    let site = Site::new(&[("dir/a", "inside")]);
    fs::write(site.outside().join("secret"), "secret").unwrap();
    fs::create_dir(site.outside().join("root2")).unwrap();
    fs::write(site.outside().join("root2/b"), "secret").unwrap();
    for (target, link, expected) in [
        ("dir/a", "file", 200),
        ("./dir/../dir/a", "roundabout", 200),
        ("../secret", "up", 404),
        ("../root/dir/a", "out-and-in", 404),
        ("../root2", "beside", 404),
        ("/etc", "absolute", 404),
        ("/proc/self/root", "magic", 404),
        ("loop", "loop", 404),
        ("nowhere", "dangling", 404),
    ] {
        symlink(target, site.path(link)).unwrap();
        assert_eq!(
            site.get(&format!("/{link}"), &[]).status,
            expected,
            "{link}"
        );
    }
    symlink("dir", site.path("link")).unwrap();
    assert_eq!(site.get("/link/a", &[]).text(), "inside");
    assert_eq!(site.get("/beside/b", &[]).status, 404);
    assert_eq!(site.get("/absolute/passwd", &[]).status, 404);
    let listing = site.get("/", &[]);
    for (name, is_listed) in [
        ("file", true),
        ("link/", true),
        ("up", false),
        ("out-and-in", false),
        ("beside/", false),
        ("absolute/", false),
        ("dangling", false),
        ("loop", false),
    ] {
        let row = format!(">{name}</a>");
        assert_eq!(listing.text().contains(&row), is_listed, "{name}");
    }
}

#[test]
fn hidden_files_are_not_served() {
    let site = Site::new(&[
        (".env", "secret"),
        (".git/config", "secret"),
        ("a/.b", "secret"),
    ]);
    for target in [
        "/.env",
        "/.git/config",
        "/.git/",
        "/.git",
        "/a/.b",
        "/%2eenv",
        "/..env",
    ] {
        assert_eq!(site.get(target, &[]).status, 404, "{target}");
    }
}

#[test]
fn what_is_no_file_is_not_opened_for_ever() {
    let site = Site::new(&[]);
    mkfifo(&site.path("pipe"), Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(site.path("socket")).unwrap();
    symlink("/dev/zero", site.path("device")).unwrap();
    for name in ["pipe", "socket", "device"] {
        assert_eq!(site.get(&format!("/{name}"), &[]).status, 404, "{name}");
        let row = format!(">{name}</a>");
        assert!(!site.get("/", &[]).text().contains(&row), "{name}");
    }
}

#[test]
fn names_that_are_too_long_are_not_found() {
    let site = Site::new(&[]);
    let long = "a".repeat(300);
    assert_eq!(site.get(&format!("/{long}"), &[]).status, 404);
    let deep = "/a".repeat(3000);
    assert_eq!(site.get(&deep, &[]).status, 404);
}

#[test]
fn a_root_that_is_replaced_is_served_soon() {
    let site = Site::new(&[("a", "old")]);
    let files = site.files();
    let get = |target: &str| crate::site::request(files.clone(), "GET", target, &[]);
    fs::rename(site.root(), site.outside().join("away")).unwrap();
    eventually("the missing root is noticed", || get("/a").status == 404);
    site.write("a", "new");
    eventually("the new root is served", || {
        get("/a").status == 200 && get("/a").text() == "new"
    });
    fs::rename(site.root(), site.outside().join("away again")).unwrap();
    site.write("b", "only in the third root");
    assert_eq!(get("/b").text(), "only in the third root");
}

#[test]
fn a_list_of_a_root_that_was_just_replaced_has_the_entries_of_the_new_root() {
    let site = Site::new(&[("both", "old"), ("old", "old")]);
    let files = site.files();
    fs::rename(site.root(), site.outside().join("away")).unwrap();
    site.write("both", "new");
    site.write("new", "new");
    let response = crate::site::request(files, "GET", "/", &[]);
    let page = response.text();
    let names = ["both", "old", "new"];
    let shown = names.map(|name| page.contains(&format!("href=\"{name}\"")));
    assert_eq!(shown, [true, false, true], "{page}");
}

#[test]
fn a_root_that_is_no_directory_is_an_error_at_once() {
    let site = Site::new(&[("a", "file")]);
    assert!(StaticFiles::new(site.path("a")).is_err());
    assert!(StaticFiles::new(site.path("missing")).is_err());
    assert!(StaticFiles::new("").is_err());
}

#[test]
fn a_file_that_the_server_may_not_read_is_forbidden() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: the superuser may read every file");
        return;
    }
    let site = Site::new(&[("a", "secret")]);
    let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    fs::set_permissions(site.path("a"), nobody).unwrap();
    assert_eq!(site.get("/a", &[]).status, 403);
}
