//! Many clients at once, a disk that is full, and what a session costs.

use std::fs;
use std::process::Command;
use std::thread;

use socketserver_handlers::files::{AccountFile, Answer, Code, Request};
use socketserver_handlers::password::StoredPassword;

use super::clients::Raw;
use super::site::{Site, content, names};

#[test]
fn two_hundred_clients_at_once_are_served() {
    let site = Site::new();
    for mixin in ["threading", "reactor"] {
        let served = site.serve(&["--mixin", mixin]);
        let content = content(50_000);
        thread::scope(|scope| {
            for number in 0..200 {
                let (served, content) = (&served, &content);
                let work = move || {
                    let mut client = Raw::log_in(served);
                    let name = format!("{number}");
                    client.put(&name, content).unwrap();
                    client.part(0, &content[..20_000]);
                    client.part(20_000, &content[20_000..]);
                    assert!(matches!(client.end(content), Ok(Answer::Stored { .. })));
                };
                let small = thread::Builder::new().stack_size(256 * 1024);
                small.spawn_scoped(scope, work).unwrap();
            }
        });
        let stored = names(&site.home(""));
        assert_eq!(stored.len(), 200);
        for name in stored {
            let path = site.home(&name);
            assert!(fs::read(&path).unwrap() == content);
            fs::remove_file(path).unwrap();
        }
        served.stop();
    }
}

#[test]
fn idle_sessions_have_no_threads_under_a_reactor() {
    let site = Site::new();
    let served = site.serve(&["--mixin", "reactor"]);
    let threads = || {
        let tasks = format!("/proc/{}/task", served.process_id());
        fs::read_dir(tasks).unwrap().count()
    };
    let clients = Vec::from_iter((0..100).map(|_| Raw::log_in(&served)));
    assert!(threads() < 40, "{} threads", threads());
    for mut client in clients {
        client.ask(&Request::new("pwd")).unwrap();
    }
    served.stop();
}

/// The memory of a process that is in use, in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A check takes 19 MiB, which would stay with each session if the heap kept them.
#[test]
fn a_session_keeps_nothing_of_the_memory_for_its_password() {
    let site = Site::new();
    fs::remove_file(site.path("users")).unwrap();
    let password = StoredPassword::new("sesame").unwrap();
    let users = AccountFile::new(site.path("users"));
    users.add("ada", &password, None).unwrap();
    for mixin in ["threading", "reactor"] {
        let served = site.serve(&["--mixin", mixin]);
        let first = Raw::log_in(&served);
        let before = resident(served.process_id());
        let others = Vec::from_iter((0..20).map(|_| Raw::log_in(&served)));
        let grown = resident(served.process_id()).saturating_sub(before);
        assert!(grown < 20 * 1024, "{mixin}: {grown} KiB for 20 sessions");
        drop((first, others));
        served.stop();
    }
}

/// A file system of 4 MiB, which is gone when the value is dropped.
struct SmallDisk<'a>(&'a Site);

impl<'a> SmallDisk<'a> {
    /// `None` if this user may not mount.
    fn new(site: &'a Site) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs"])
            .arg(site.home(""));
        let output = mount.output().ok()?;
        output.status.success().then_some(Self(site))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.0.home(""))
            .output();
    }
}

#[test]
fn a_disk_that_fills_up_keeps_what_has_come_and_names_the_offset() {
    let site = Site::new();
    let Some(_disk) = SmallDisk::new(&site) else {
        println!("skipped: this user may not mount a small disk");
        return;
    };
    let served = site.serve(&[]);
    let mut client = Raw::log_in(&served);
    // Refused before the first byte.
    let refusal = client.put("a", &content(5_000_000)).unwrap_err();
    assert_eq!((refusal.code(), refusal.offset()), (Code::NoSpace, Some(0)));
    // Begun while there was room, which somebody else takes meanwhile.
    let content = content(3_000_000);
    client.put("a", &content).unwrap();
    fs::write(site.home("other"), vec![b'x'; 2_500_000]).unwrap();
    for (number, part) in content.chunks(500_000).enumerate() {
        client.part(500_000 * number as u64, part);
    }
    let refusal = client.read().unwrap_err();
    assert_eq!(refusal.code(), Code::NoSpace);
    let kept = refusal.offset().unwrap();
    assert!((500_000..3_000_000).contains(&kept), "{kept}");
    fs::remove_file(site.home("other")).unwrap();
    match client.put("a", &content).unwrap() {
        Answer::Send { offset, .. } => assert_eq!(offset, kept),
        other => panic!("{other:?}"),
    }
    let rest = &content[usize::try_from(kept).unwrap()..];
    let mut offset = kept;
    for part in rest.chunks(1_000_000) {
        client.part(offset, part);
        offset += part.len() as u64;
    }
    client.end(&content).unwrap();
    assert!(fs::read(site.home("a")).unwrap() == content);
    drop(client);
    served.stop();
}

#[test]
fn a_quota_is_shared_by_the_sessions_of_all_processes() {
    let site = Site::new();
    for mixin in ["threading", "forking"] {
        let served = site.serve(&["--mixin", mixin, "--quota", "1000"]);
        let mut one = Raw::log_in(&served);
        let mut other = Raw::log_in(&served);
        one.put("a", &content(700)).unwrap();
        let refusal = other.put("b", &content(400)).unwrap_err();
        assert_eq!(refusal.code(), Code::Quota, "{mixin}");
        one.part(0, &content(700)[..100]);
        let cancelled = one.ask(&Request::new("cancel")).unwrap();
        assert_eq!(cancelled, Answer::Cancelled { offset: Some(100) });
        other.put("b", &content(400)).unwrap();
        drop((one, other));
        served.stop();
        fs::remove_dir_all(site.home("")).unwrap();
    }
}
