//! A client that leaves, at every byte.

use std::fs;
use std::io::ErrorKind;

use socketserver::mock::MockStream;
use socketserver_handlers::files::Answer;

use crate::site::{Site, command, on, part, put, rename, sent, with_login};

#[test]
fn wherever_a_client_leaves_an_upload_resumes_and_no_file_is_wrong() {
    let site = Site::new();
    let messages = [
        put("a", b"hello, world"),
        part(0, b"hello"),
        part(5, b", world"),
        sent(b"hello, world"),
    ];
    let bytes = with_login(&messages);
    let login = with_login(&[]).len();
    for length in login..=bytes.len() {
        let (replies, _) = site.talk(&bytes[..length]);
        let is_whole = length == bytes.len();
        assert_eq!(site.home("a").exists(), is_whole, "{length}");
        assert_eq!(
            matches!(replies.last(), Some(Ok((Answer::Stored { .. }, _)))),
            is_whole
        );
        if is_whole {
            break;
        }
        let mut resumed = site.ada(&[put("a", b"hello, world"), command("cancel")]);
        match resumed.remove(1).unwrap().0 {
            Answer::Send { offset, .. } => {
                let partial = fs::read_dir(site.home("")).unwrap().next();
                assert_eq!(partial.is_some(), offset > 0);
                if let Some(partial) = partial {
                    let bytes = fs::read(partial.unwrap().path()).unwrap();
                    assert!(b"hello, world".starts_with(&bytes));
                    assert_eq!(bytes.len() as u64, offset);
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::read(site.home("a")).unwrap(), b"hello, world");
    assert_eq!(fs::read_dir(site.home("")).unwrap().count(), 1);
}

#[test]
fn a_client_that_takes_nothing_more_ends_a_download_or_a_list() {
    let site = Site::new();
    fs::write(site.home("a"), vec![b'x'; 500_000]).unwrap();
    for message in [on("get", "a"), on("list", ".")] {
        for taken in [0, 50, 200, 400, 150_000] {
            for kind in [ErrorKind::BrokenPipe, ErrorKind::TimedOut] {
                let client = MockStream::new().chunk(with_login(std::slice::from_ref(&message)));
                let client = client.write_error_after(taken, kind);
                let recording = client.run(site.session());
                assert!(recording.written().len() <= taken);
                if taken < 200 || message.0.command == "get" {
                    recording.result().as_ref().unwrap_err();
                }
                assert!(recording.is_closed());
            }
        }
    }
}

#[test]
fn a_timeout_in_the_middle_of_an_upload_keeps_what_has_come() {
    let site = Site::new();
    let client = MockStream::new()
        .chunk(with_login(&[put("a", b"hello")]))
        .chunk(&part(0, b"hello").bytes()[..part(0, b"hello").bytes().len() - 2])
        .timeout();
    let recording = client.run(site.session());
    recording.result().as_ref().unwrap_err();
    let resumed = site.ada(&[put("a", b"hello"), part(3, b"lo"), sent(b"hello")]);
    assert!(matches!(
        resumed[1],
        Ok((Answer::Send { offset: 3, .. }, _))
    ));
    assert_eq!(fs::read(site.home("a")).unwrap(), b"hello");
}

#[test]
fn a_command_whose_answer_nobody_reads_is_done_or_not_done() {
    let site = Site::new();
    fs::write(site.home("a"), "1").unwrap();
    let client = MockStream::new().chunk(with_login(&[rename("a", "b"), rename("b", "c")]));
    let recording = client
        .write_error_after(0, ErrorKind::ConnectionReset)
        .run(site.session());
    recording.result().as_ref().unwrap_err();
    let left = Vec::from_iter(["a", "b", "c"].map(|name| site.home(name).exists()));
    assert_eq!(left.iter().filter(|exists| **exists).count(), 1);
}
