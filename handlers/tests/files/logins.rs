//! Who is let in.

use std::io::Write;

use socketserver::ExchangeHandler;
use socketserver::mock::MockStream;
use socketserver_handlers::files::{Answer, Code, FileSession, Greeting};
use socketserver_handlers::password::StoredPassword;

use crate::site::{Site, codes, command, login, on, parse, with_login};

#[test]
fn the_right_password_opens_the_home_and_nothing_works_before() {
    let site = Site::new();
    let bytes = [
        command("pwd").bytes(),
        command("fly").bytes(),
        login("ada", "sesame").bytes(),
        command("pwd").bytes(),
    ];
    let (replies, result) = site.talk(&bytes.concat());
    result.unwrap();
    for reply in &replies[..2] {
        let refusal = reply.as_ref().unwrap_err();
        assert_eq!(refusal.code(), Code::LoginRequired);
    }
    let welcome = Answer::Welcome {
        user: "ada".to_owned(),
        path: "/".to_owned(),
        quota: None,
    };
    assert_eq!(replies[2].as_ref().unwrap().0, welcome);
    assert!(replies[3].is_ok());
}

#[test]
fn a_wrong_user_and_a_wrong_password_look_the_same_and_three_end_the_connection() {
    let site = Site::new();
    let refused = |user, password| {
        let bytes = [login(user, password).bytes(), login(user, password).bytes()].concat();
        // The fourth would be right.
        let bytes = [bytes.clone(), bytes, login("ada", "sesame").bytes()].concat();
        let recording = MockStream::new().chunk(bytes).run(site.session());
        let error = recording.result().as_ref().unwrap_err().to_string();
        assert_eq!(error, "failed logins: 3");
        let written = recording.written();
        let mut written = written.as_slice();
        Greeting::read(&mut written).unwrap().unwrap();
        assert_eq!(parse(written).len(), 3);
        recording.written()
    };
    let wrong_password = refused("ada", "wrong");
    assert_eq!(wrong_password, refused("eve", "wrong"));
    assert_eq!(wrong_password, refused("../ada", "sesame"));
    assert_eq!(wrong_password, refused("", ""));
}

#[test]
fn a_failed_login_may_be_followed_by_a_right_one() {
    let site = Site::new();
    let wrong = login("ada", "wrong").bytes();
    let (replies, result) = site.talk(&[wrong, with_login(&[command("pwd")])].concat());
    result.unwrap();
    assert_eq!(replies.len(), 3);
    assert_eq!(replies[0].as_ref().unwrap_err().code(), Code::Denied);
    assert!(replies[2].is_ok());
}

#[test]
fn failed_logins_are_in_the_log_also_if_the_client_leaves_in_time() {
    let site = Site::new();
    let (_, result) = site.talk(&login("ada", "wrong").bytes());
    assert_eq!(result.unwrap_err().to_string(), "failed logins: 1");
}

#[test]
fn a_client_of_another_machine_is_not_asked_for_a_password_in_the_clear() {
    let site = Site::new();
    let client = || MockStream::new().client_address(([192, 0, 2, 1], 1));
    let recording = client().chunk(with_login(&[])).run(site.session());
    recording.result().as_ref().unwrap_err();
    let replies = parse(&recording.written());
    assert_eq!(replies.len(), 1);
    assert_eq!(replies[0].as_ref().unwrap_err().code(), Code::Insecure);
    let permissive = site.service.clone().allow_plain_passwords();
    let recording = client()
        .chunk(with_login(&[]))
        .run(FileSession::new(permissive));
    recording.result().as_ref().unwrap();
}

#[test]
fn an_account_that_changes_ends_its_sessions_and_is_in_force_at_once() {
    for change in ["removed", "another password", "broken file"] {
        let site = Site::new();
        let client = MockStream::new()
            .chunk(login("ada", "sesame").bytes())
            .chunk(command("pwd").bytes())
            .chunk(command("pwd").bytes());
        let (mut client, recording) = client.into_request();
        let mut session = site.session();
        session.setup(&mut client).unwrap();
        session.exchange(&mut client).unwrap();
        session.exchange(&mut client).unwrap();
        match change {
            "removed" => site.users().remove("ada").unwrap(),
            "another password" => {
                let password = StoredPassword::new("other").unwrap();
                site.users().set_password("ada", &password).unwrap();
            }
            _ => std::fs::write(site.directory.path().join("users"), "ada").unwrap(),
        }
        session.exchange(&mut client).unwrap();
        client.flush().unwrap();
        drop(client);
        let written = recording.written();
        let mut written = written.as_slice();
        Greeting::read(&mut written).unwrap().unwrap();
        let codes = codes(parse(written));
        assert_eq!(codes, [None, Some(Code::AccountChanged)], "{change}");
        let (replies, _) = site.talk(&login("ada", "sesame").bytes());
        let expected = match change {
            "broken file" => Code::Unavailable,
            _ => Code::Denied,
        };
        assert_eq!(replies[0].as_ref().unwrap_err().code(), expected);
    }
}

#[test]
fn a_user_sees_the_own_home_only() {
    let site = Site::new();
    site.ada(&[on("mkdir", "secret")]);
    let bytes = [login("bob", "sesame").bytes(), on("cd", "secret").bytes()].concat();
    let (replies, _) = site.talk(&bytes);
    assert_eq!(codes(replies), [Some(Code::NotFound)]);
}
