//! `client files`: the forms of its commands, and what it shows.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::site::{Site, content, names, stderr};

#[test]
fn under_every_mix_in_and_over_every_stream_files_come_and_go() {
    let site = Site::new();
    let content = content(3_000_001);
    fs::write(site.local("big"), &content).unwrap();
    let unix = format!("unix://{}", site.path("socket").display());
    for (number, mixin) in ["none", "threading", "forking", "pool", "reactor"]
        .iter()
        .enumerate()
    {
        for url in ["tcp://127.0.0.1:0", &unix] {
            let served = site.serve_on(url, &["--mixin", mixin, "--quota", "40MiB"]);
            let remote = format!("{number}{}", url.len());
            site.succeed(served.url(), &["put", "big", &remote]);
            site.succeed(served.url(), &["get", "-f", &remote, "back"]);
            assert!(
                fs::read(site.local("back")).unwrap() == content,
                "{mixin} {url}"
            );
            served.stop();
        }
    }
    assert_eq!(names(&site.home("")).len(), 10);
}

#[test]
fn one_command_of_each_kind_is_carried_out() {
    let site = Site::new();
    let served = site.serve(&[]);
    let run = |arguments: &[&str]| site.succeed(served.url(), arguments);
    fs::write(site.local("a"), "12345").unwrap();
    assert_eq!(run(&["pwd"]), "/\n");
    run(&["mkdir", "d", "e"]);
    run(&["put", "a"]);
    run(&["put", "a", "d"]);
    run(&["put", "a", "d/b"]);
    assert_eq!(names(&site.home("d")), ["a", "b"]);
    run(&["mv", "d/b", "e"]);
    run(&["mv", "a", "c"]);
    assert_eq!(names(&site.home("e")), ["b"]);
    let listed = run(&["ls"]);
    let lines = Vec::from_iter(listed.lines());
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("file               5 20") && lines[0].ends_with(" c"));
    assert!(lines[1].starts_with("dir                - 20") && lines[1].ends_with(" d/"));
    assert!(run(&["ls", "e/b"]).ends_with(" b\n"));
    assert!(run(&["du"]).starts_with("15 bytes in 3 files and 2 directories\n"));
    run(&["get", "-f", "c", "d/a", "e/b", "."]);
    assert_eq!(names(&site.local("")), ["a", "b", "c"]);
    run(&["rm", "c", "d/a", "d"]);
    assert_eq!(names(&site.home("")), ["e"]);
    served.stop();
}

#[test]
fn directories_are_transferred_with_all_that_is_in_them() {
    let site = Site::new();
    let served = site.serve(&[]);
    let tree = site.local("tree");
    fs::create_dir_all(tree.join("x/y")).unwrap();
    fs::write(tree.join("x/y/deep"), "deep").unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"odd\xff\n 100%")), "odd").unwrap();
    symlink("empty", tree.join("link")).unwrap();
    let without = site.run(served.url(), &["put", "tree"]);
    assert!(stderr(&without).contains("give -r"), "{}", stderr(&without));
    let output = site.run(served.url(), &["put", "-r", "tree", "there"]);
    assert!(output.status.success());
    assert!(
        stderr(&output).contains("link: left out"),
        "{}",
        stderr(&output)
    );
    site.succeed(served.url(), &["get", "-r", "there", "back"]);
    // The contents of the home itself.
    fs::create_dir(site.local("all")).unwrap();
    site.succeed(served.url(), &["get", "-r", "/", "all"]);
    fs::remove_file(tree.join("link")).unwrap();
    for copy in ["back", "all/there"] {
        let mut diff = std::process::Command::new("diff");
        let same = diff.arg("-r").arg(&tree).arg(site.local(copy)).status();
        assert!(same.unwrap().success(), "{copy}");
    }
    served.stop();
}

#[test]
fn a_file_that_exists_is_replaced_only_if_the_user_wants_it_on_both_sides() {
    let site = Site::new();
    let served = site.serve(&[]);
    fs::write(site.local("a"), "new").unwrap();
    fs::write(site.home("a"), "old").unwrap();
    for (arguments, why) in [
        (["put", "a"], "the client has not asked to replace it"),
        (["get", "a"], "give --replace"),
    ] {
        let output = site.run(served.url(), &arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }
    assert_eq!(fs::read(site.local("a")).unwrap(), b"new");
    assert_eq!(fs::read(site.home("a")).unwrap(), b"old");
    site.succeed(served.url(), &["put", "--replace", "a"]);
    assert_eq!(fs::read(site.home("a")).unwrap(), b"new");
    fs::write(site.home("a"), "newer").unwrap();
    site.succeed(served.url(), &["get", "-f", "a"]);
    assert_eq!(fs::read(site.local("a")).unwrap(), b"newer");
    served.stop();
}

#[test]
fn a_script_ends_at_its_first_failure_unless_it_is_to_go_on() {
    let site = Site::new();
    let served = site.serve(&[]);
    fs::write(site.local("my file"), "1").unwrap();
    let lines = "# a comment\n\nmkdir d\ncd d\nput \"my file\"\nrm missing\npwd\nquit\nmkdir e\n";
    let output = site.script(served.url(), &[], lines);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("no such file or directory: missing"));
    assert!(stderr(&output).contains("line 6"), "{}", stderr(&output));
    assert_eq!(names(&site.home("")), ["d"]);
    assert_eq!(names(&site.home("d")), ["my file"]);
    fs::remove_dir_all(site.home("d")).unwrap();
    let output = site.script(served.url(), &["--continue"], lines);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"/d\n");
    assert_eq!(names(&site.home("")), ["d"]);
    let output = site.script(served.url(), &[], "cd d\nfly\n");
    assert!(
        stderr(&output).contains("unrecognized subcommand 'fly'"),
        "{}",
        stderr(&output)
    );
    let output = site.script(served.url(), &[], "help\ncd d\npwd");
    assert!(output.status.success());
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("Lists a directory") && shown.ends_with("/d\n"),
        "{shown}"
    );
    served.stop();
}

#[test]
fn progress_is_a_line_for_each_transfer_or_nothing() {
    let site = Site::new();
    let served = site.serve(&[]);
    fs::write(site.local("a"), "12345").unwrap();
    let output = site.run(served.url(), &["put", "a"]);
    assert!(
        stderr(&output).starts_with("a: 5 bytes in "),
        "{}",
        stderr(&output)
    );
    let output = site.run(served.url(), &["--quiet", "get", "-f", "a"]);
    assert_eq!(stderr(&output), "");
    served.stop();
}

#[test]
fn the_password_is_never_sent_where_it_could_be_read() {
    let site = Site::new();
    // A server of another machine, for which this address is as good.
    let served = site.serve_on("tcp://0.0.0.0:0", &["--allow-plain-passwords"]);
    let port = served.address().port();
    let Some(address) = own_address() else {
        println!("skipped: this machine has no address but the loopback's");
        return;
    };
    let url = format!("tcp://{address}:{port}");
    let output = site.run(&url, &["pwd"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("--allow-plain-passwords"),
        "{}",
        stderr(&output)
    );
    assert_eq!(
        site.succeed(&url, &["--allow-plain-passwords", "pwd"]),
        "/\n"
    );
    served.stop();
}

/// An address of this machine that is not the loopback's.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing, and needs nobody there.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[test]
fn a_login_that_fails_and_a_server_that_is_not_there_are_errors() {
    let site = Site::new();
    let served = site.serve(&[]);
    fs::write(site.path("password"), "wrong").unwrap();
    let output = site.run(served.url(), &["ls"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("the user or the password is wrong"));
    let url = served.url().to_owned();
    served.stop();
    let output = site.run(&url, &["ls"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("there is no server"),
        "{}",
        stderr(&output)
    );
    fs::remove_file(site.path("password")).unwrap();
    let output = site.run(&url, &["ls"]);
    assert!(
        stderr(&output).contains("the password in"),
        "{}",
        stderr(&output)
    );
}
