//! Messages that break the rules.

use std::sync::LazyLock;

use proptest::prelude::*;
use socketserver::ExchangeHandler;
use socketserver_handlers::files::{Code, PART_SIZE};

use crate::site::{Site, codes, command, with_login};

/// The bytes of a header, which may be anything.
fn raw(header: &[u8]) -> Vec<u8> {
    let length = u32::try_from(header.len()).unwrap().to_le_bytes();
    [&length, header].concat()
}

#[test]
fn a_message_that_breaks_the_rules_is_refused_and_ends_the_connection() {
    let site = Site::new();
    let body_too_long = format!("{{\"command\":\"pwd\",\"data_size\":{}}}", PART_SIZE + 1);
    for bytes in [
        b"\xff\xff\xff\xff".to_vec(),
        b"\x01\0\x01\0".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        raw(b""),
        raw(b"pwd"),
        raw(b"[\"pwd\"]"),
        raw(b"{\"command\":\"pwd\""),
        raw(b"{\"command\":5}"),
        raw(b"{}"),
        raw(b"{\"command\":\"pwd\",\"data_size\":-1}"),
        raw(b"{\"command\":\"\xff\"}"),
        raw(b"{\"command\":\"cd\",\"path\":5}"),
        raw(body_too_long.as_bytes()),
        raw("[".repeat(60_000).as_bytes()),
    ] {
        let all = [with_login(&[]), bytes.clone(), command("pwd").bytes()].concat();
        let (replies, result) = site.talk(&all);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        result.expect_err(&shown);
        assert_eq!(codes(replies), [Some(Code::BadMessage)], "{shown}");
    }
}

#[test]
fn fields_that_nobody_knows_and_bodies_that_nobody_wants_are_skipped() {
    let site = Site::new();
    let odd = raw(b" {\"of_tomorrow\":[1,{}],\"command\":\"pwd\",\"data_size\":3} ");
    let null = raw(b"{\"command\":\"pwd\",\"data_size\":null,\"path\":null,\"size\":null}");
    let all = [
        with_login(&[]),
        odd,
        b"abc".to_vec(),
        null,
        command("pwd").bytes(),
    ]
    .concat();
    let (replies, result) = site.talk(&all);
    result.unwrap();
    assert_eq!(codes(replies), [None, None, None]);
}

#[test]
fn an_exchange_begins_when_the_header_is_whole() {
    let session = Site::new().session();
    let message = command("pwd").bytes();
    for length in 1..message.len() {
        assert!(!session.is_complete(&message[..length]), "{length}");
    }
    assert!(session.is_complete(&message));
    assert!(session.is_complete(b"GET / HTTP/1.1"));
    assert!(session.is_complete(b"\xff\xff\xff\xff"));
}

/// Commands with fields that do not fit.
const MESSAGE: &str = concat!(
    r#"\{"command":"(cd|list|put|part|sent|get|login|rename)""#,
    r#"(,"(path|size|offset|data_size|hash|to)":"#,
    r#"(-?[0-9]{1,19}|"[./a%]{0,9}")){0,3}\}"#
);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_a_client_sends_has_an_end(
        messages in prop::collection::vec(MESSAGE, 0..5),
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        static SITE: LazyLock<Site> = LazyLock::new(Site::new);
        let site = &*SITE;
        let messages = messages.iter().flat_map(|message| raw(message.as_bytes()));
        let all = [with_login(&[]), Vec::from_iter(messages), rest].concat();
        let (replies, _) = site.talk(&all);
        prop_assert!(!replies.is_empty());
    }
}
