//! Quotas: reserved before the first byte, and right after whatever happens.

use std::fs;

use socketserver_handlers::files::{Answer, Code};

use crate::site::{
    Reply, Site, codes, command, on, part, put, put_at_once, rename, sent, with_login,
};

fn limited() -> Site {
    let mut site = Site::new();
    site.service = site.service.clone().quota(10);
    site
}

/// The bytes in use, and the quota.
fn used(replies: &[Reply]) -> (u64, u64) {
    match replies.last() {
        Some(Ok((
            Answer::Usage {
                used: Some(used),
                quota: Some(quota),
                ..
            },
            _,
        ))) => (*used, *quota),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_are_counted_reserved_and_given_back() {
    let site = limited();
    fs::write(site.home("old"), "1234").unwrap();
    let replies = site.ada(&[
        put_at_once("a", b"123456"),
        put_at_once("b", b"7"),
        on("remove", "old"),
        put_at_once("b", b"7"),
        put_at_once("a", b"123").replacing(),
        rename("a", "b").replacing(),
        command("du"),
    ]);
    assert_eq!(used(&replies), (3, 10));
    let quota = Some(Code::Quota);
    assert_eq!(codes(replies), [None, quota, None, None, None, None, None]);
}

#[test]
fn an_upload_that_does_not_fit_is_refused_before_its_first_byte() {
    let site = limited();
    let mut replies = site.ada(&[put("a", b"01234567890"), command("du")]);
    assert_eq!(used(&replies), (0, 10));
    let refusal = replies.remove(1).unwrap_err();
    assert_eq!((refusal.code(), refusal.offset()), (Code::Quota, Some(0)));
    assert_eq!(fs::read_dir(site.home("")).unwrap().count(), 0);
}

#[test]
fn a_partial_file_counts_as_it_is_and_its_rest_is_reserved_again() {
    let site = limited();
    let replies = site.ada(&[
        put("a", b"01234567"),
        part(0, b"012"),
        command("cancel"),
        command("du"),
    ]);
    assert_eq!(used(&replies), (3, 10));
    // Fits, with the three bytes of the partial file.
    let replies = site.ada(&[put_at_once("b", b"0123456"), put("a", b"01234567")]);
    assert_eq!(codes(replies), [None, Some(Code::Quota)]);
    let replies = site.ada(&[
        on("remove", "b"),
        put("a", b"01234567"),
        part(3, b"34567"),
        sent(b"01234567"),
        command("du"),
    ]);
    assert_eq!(used(&replies), (8, 10));
    // A wrong hash gives everything back.
    let replies = site.ada(&[
        put_at_once("c", b"x").with(|it| it.hash = Some("0".repeat(64))),
        put("d", b"xy"),
        part(0, b"xz"),
        sent(b"xy"),
        command("du"),
    ]);
    assert_eq!(used(&replies), (8, 10));
}

#[test]
fn a_client_that_leaves_gives_its_reservation_back() {
    let site = limited();
    let one = site.talk(&with_login(&[put("a", b"0123456789"), part(0, b"012")]));
    one.1.unwrap_err();
    assert_eq!(used(&site.ada(&[command("du")])), (3, 10));
}

#[test]
fn the_quota_of_an_account_goes_before_that_of_the_service() {
    let site = limited();
    site.users().set_quota("ada", Some(3)).unwrap();
    let replies = site.ada(&[put_at_once("a", b"0123"), command("du")]);
    assert_eq!(used(&replies), (0, 3));
    match &replies[0] {
        Ok((Answer::Welcome { quota, .. }, _)) => assert_eq!(*quota, Some(3)),
        other => panic!("{other:?}"),
    }
    assert_eq!(codes(replies)[0], Some(Code::Quota));
}
