//! Downloads that the user repeats: what is here already is not received again.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread;

use super::site::{Site, content, names, stderr};

const SIZE: usize = 3_000_000;

/// Passes on what the server sends to the first client, up to `limit` bytes. Then the connection
/// breaks.
fn break_after(server: SocketAddr, limit: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || pass_on(&listener, server, limit));
    url
}

/// Passes one connection on, and returns the bytes that the server has sent.
fn pass_on(listener: &TcpListener, server: SocketAddr, limit: u64) -> u64 {
    let mut client = listener.accept().unwrap().0;
    let mut server = TcpStream::connect(server).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let upwards = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let passed = io::copy(&mut Read::take(&mut server, limit), &mut client).unwrap_or(0);
    let _ = client.flush();
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
    upwards.join().unwrap();
    passed
}

/// Runs a client, and returns the bytes that the server has sent to it over its one connection.
fn received(site: &Site, server: SocketAddr, arguments: &[&str]) -> u64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let passing = thread::spawn(move || pass_on(&listener, server, u64::MAX));
    site.succeed(&url, arguments);
    passing.join().unwrap()
}

#[test]
fn a_download_of_several_files_that_broke_off_goes_on_with_the_same_command() {
    for (arguments, first, second) in [
        (["get", "-r", "tree"].as_slice(), "tree/a", "tree/b"),
        (&["get", "tree/a", "tree/b", "."], "a", "b"),
    ] {
        let site = Site::new();
        let served = site.serve(&[]);
        fs::create_dir(site.home("tree")).unwrap();
        let content = content(SIZE);
        for name in ["a", "b", "c"] {
            fs::write(site.home("tree").join(name), &content).unwrap();
        }
        let url = break_after(served.address(), SIZE as u64 * 3 / 2);
        let output = site.run(&url, &[&["--retries", "0"], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let inode = || fs::metadata(site.local(first)).unwrap().ino();
        let before = inode();
        assert!(!site.local(second).exists());
        let output = site.run(served.url(), arguments);
        let shown = stderr(&output);
        assert!(output.status.success(), "{shown}");
        assert_eq!(inode(), before);
        assert_eq!(shown.matches("goes on at").count(), 1, "{shown}");
        assert!(shown.contains("b: goes on at"), "{shown}");
        assert!(fs::read(site.local(second)).unwrap() == content);
        // Once more, with everything here.
        let moved = received(&site, served.address(), arguments);
        assert!(moved < 5000, "{moved}");
        assert!(
            !names(&site.local(""))
                .iter()
                .any(|name| name.ends_with(".part"))
        );
        served.stop();
    }
}

#[test]
fn a_content_that_is_here_is_not_received_again_and_another_one_is_never_replaced_unasked() {
    let site = Site::new();
    let served = site.serve(&[]);
    let content = content(SIZE);
    for (name, content) in [
        ("large", content.as_slice()),
        ("small", b"1"),
        ("empty", b""),
    ] {
        fs::write(site.home(name), content).unwrap();
        fs::write(site.local(name), content).unwrap();
        let inode = fs::metadata(site.local(name)).unwrap().ino();
        for options in [
            ["get"].as_slice(),
            &["get", "-f"],
            &["--digest", "md5", "get"],
        ] {
            let moved = received(&site, served.address(), &[options, &[name]].concat());
            assert!(moved < 2000, "{name}: {moved}");
        }
        assert_eq!(fs::metadata(site.local(name)).unwrap().ino(), inode);
    }
    let mut other = content.clone();
    other[SIZE - 1] ^= 1;
    for other in [&other[..], &content[1..], b""] {
        fs::write(site.local("large"), other).unwrap();
        let output = site.run(served.url(), &["get", "large"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("large exists here"),
            "{}",
            stderr(&output)
        );
        assert!(fs::read(site.local("large")).unwrap() == other);
        site.succeed(served.url(), &["get", "-f", "large"]);
        assert!(fs::read(site.local("large")).unwrap() == content);
    }
    // A link is no file with this content, whatever it leads to.
    fs::remove_file(site.local("small")).unwrap();
    symlink("large", site.local("small")).unwrap();
    fs::write(site.home("small"), &content).unwrap();
    let output = site.run(served.url(), &["get", "small"]);
    assert!(
        stderr(&output).contains("small exists here"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(&site.local("")), ["empty", "large", "small"]);
    served.stop();
}

#[test]
fn a_script_goes_on_after_a_content_that_is_not_replaced() {
    let site = Site::new();
    let served = site.serve(&[]);
    let content = content(SIZE);
    fs::write(site.home("a"), &content).unwrap();
    fs::write(site.local("a"), vec![0; SIZE]).unwrap();
    let output = site.script(served.url(), &["--continue"], "get a\nmkdir d\nget -f a\n");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(names(&site.home("")), ["a", "d"]);
    assert!(fs::read(site.local("a")).unwrap() == content);
    served.stop();
}
