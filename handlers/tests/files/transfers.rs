//! Uploads and downloads: parts, resumption, and what goes wrong.

use std::fs;

use socketserver_handlers::files::{Answer, Code, ContentDigest, Kind};

use crate::site::{
    Message, Reply, Site, answers, codes, command, hash, on, part, put, put_at_once, put_known,
    sent, with_login,
};

/// More than one part.
fn content() -> Vec<u8> {
    Vec::from_iter((0..300_000_u32).flat_map(u32::to_le_bytes))
}

fn stored(content: &[u8]) -> Answer {
    let (size, hash) = (content.len() as u64, hash(content));
    Answer::Stored { size, hash }
}

/// The bytes of a download, and its last message.
fn received(replies: Vec<Reply>) -> (Vec<u8>, Answer) {
    let mut content = Vec::new();
    let mut last = Answer::Bye;
    for reply in replies {
        let (answer, body) = reply.unwrap();
        content.extend(body);
        last = answer;
    }
    (content, last)
}

/// The names in the home.
fn names(site: &Site) -> Vec<String> {
    let names = fs::read_dir(site.home("")).unwrap();
    Vec::from_iter(names.map(|name| name.unwrap().file_name().into_string().unwrap()))
}

#[test]
fn a_content_comes_back_as_it_was_sent() {
    let site = Site::new();
    let content = content();
    let (one, two) = content.split_at(1_000_000);
    let replies = site.ada(&[
        put("a", &content),
        part(0, one),
        part(1_000_000, two),
        sent(&content),
        put_at_once("small", b"hello"),
        put_at_once("empty", b""),
    ]);
    let nothing = Answer::Send {
        offset: 0,
        prefix_hash: hash(b""),
    };
    let expected = [nothing, stored(&content), stored(b"hello"), stored(b"")];
    assert_eq!(answers(replies), expected);
    assert_eq!(fs::read(site.home("a")).unwrap(), content);
    for (name, content) in [
        ("a", content.as_slice()),
        ("small", b"hello"),
        ("empty", b""),
    ] {
        let (received, last) = received(site.ada(&[on("get", name)]));
        assert!(received == content, "{name}");
        let (size, hash) = (content.len() as u64, hash(content));
        assert_eq!(last, Answer::Sent { size, hash });
    }
    assert_eq!(names(&site).len(), 3);
}

#[test]
fn the_tutorial_s_md5_can_be_asked_for() {
    let site = Site::new();
    let md5 = |content: &[u8]| {
        let mut hasher = ContentDigest::Md5.hasher();
        hasher.update(content);
        hasher.hex()
    };
    let upload = put("a", b"hello").with(|request| request.digest = Some("md5".to_owned()));
    let end = command("sent").with(|request| request.hash = Some(md5(b"hello")));
    let get = on("get", "a").with(|request| request.digest = Some("md5".to_owned()));
    let answers = answers(site.ada(&[upload, part(0, b"hello"), end, get]));
    let (size, hash) = (5, md5(b"hello"));
    let prefix_hash = md5(b"");
    assert_eq!(
        answers[0],
        Answer::Send {
            offset: 0,
            prefix_hash
        }
    );
    assert_eq!(answers.last(), Some(&Answer::Sent { size, hash }));
}

#[test]
fn an_upload_that_was_broken_off_goes_on_where_it_ended() {
    let site = Site::new();
    let (replies, result) = site.talk(&with_login(&[put("a", b"hello"), part(0, b"he")]));
    assert!(result.unwrap_err().to_string().contains("has left"));
    assert_eq!(replies.len(), 2);
    let partials = answers(site.ada(&[on("list", ".")]));
    match &partials[0] {
        Answer::Entries { entries } => {
            assert_eq!((entries[0].kind, entries[0].size), (Kind::Partial, 2));
        }
        other => panic!("{other:?}"),
    }
    let resumed = site.ada(&[put("a", b"hello"), part(2, b"llo"), sent(b"hello")]);
    let begun = Answer::Send {
        offset: 2,
        prefix_hash: hash(b"he"),
    };
    assert_eq!(answers(resumed), [begun, stored(b"hello")]);
    assert_eq!(names(&site), ["a"]);
}

#[test]
fn a_client_may_begin_at_the_start_again() {
    let site = Site::new();
    site.ada(&[put("a", b"hello"), part(0, b"he"), command("cancel")]);
    let replies = site.ada(&[put("a", b"hello"), part(0, b"hello"), sent(b"hello")]);
    assert_eq!(answers(replies)[1], stored(b"hello"));
    // Also when the server has everything.
    site.ada(&[put("c", b"hello"), part(0, b"jello"), command("cancel")]);
    let replies = site.ada(&[put("c", b"hello"), part(0, b"hello"), sent(b"hello")]);
    assert_eq!(answers(replies)[1], stored(b"hello"));
    site.ada(&[put("b", b"hello"), part(0, b"he"), command("cancel")]);
    site.ada(&[put_at_once("b", b"hello")]);
    assert_eq!(fs::read(site.home("b")).unwrap(), b"hello");
    assert_eq!(names(&site).len(), 3);
}

#[test]
fn another_version_of_the_source_never_becomes_the_file_by_the_bytes_of_this_one() {
    let site = Site::new();
    let broken_off = [put("a", b"hello"), part(0, b"he"), command("cancel")];
    site.ada(&broken_off);
    // Of another size: the server has nothing of it.
    let replies = site.ada(&[put("a", b"hello!"), command("cancel")]);
    let nothing = Answer::Send {
        offset: 0,
        prefix_hash: hash(b""),
    };
    let cancelled = Answer::Cancelled { offset: Some(0) };
    assert_eq!(answers(replies), [nothing, cancelled]);
    // Of the same size: the hash shows the client that the bytes are others.
    let begun = Answer::Send {
        offset: 2,
        prefix_hash: hash(b"he"),
    };
    let replies = site.ada(&[put("a", b"jello"), part(0, b"jello"), sent(b"jello")]);
    assert_eq!(answers(replies), [begun.clone(), stored(b"jello")]);
    assert_eq!(names(&site), ["a"]);
    fs::remove_file(site.home("a")).unwrap();
    // A client that does not compare.
    site.ada(&broken_off);
    let mut replies = site.ada(&[put("a", b"jello"), part(2, b"llo"), sent(b"jello")]);
    let refusal = replies.pop().unwrap().unwrap_err();
    assert_eq!((refusal.code(), refusal.offset()), (Code::WrongHash, None));
    assert!(names(&site).is_empty());
}

#[test]
fn an_upload_that_had_everything_but_its_end_is_completed_with_the_end_alone() {
    let site = Site::new();
    // The client was killed between the last byte and the end.
    site.ada(&[put("a", b"hello"), part(0, b"hello"), command("cancel")]);
    assert!(!site.home("a").exists());
    let replies = site.ada(&[put("a", b"hello"), sent(b"hello")]);
    let everything = Answer::Send {
        offset: 5,
        prefix_hash: hash(b"hello"),
    };
    assert_eq!(answers(replies), [everything, stored(b"hello")]);
    assert_eq!(names(&site), ["a"]);
}

#[test]
fn an_end_that_does_not_fit_is_refused_and_the_bytes_are_kept() {
    let site = Site::new();
    let hashed = |hash: &str| command("sent").with(|it| it.hash = Some(hash.to_owned()));
    let cases: [(&[u8], Message); 6] = [
        (b"hell", sent(b"hell")),
        (b"hell", sent(b"hello")),
        (b"hello", command("sent")),
        (b"hello", hashed("")),
        (b"hello", hashed(&hash(b"hello").to_uppercase())),
        // The hash of another digest.
        (b"hello", hashed("5d41402abc4b2a76b9719d911017c592")),
    ];
    for (bytes, end) in cases {
        let messages = [
            put("a", b"hello"),
            part(0, bytes),
            end.clone(),
            sent(b"hello"),
        ];
        let mut replies = site.ada(&messages);
        assert_eq!(
            replies.len(),
            3,
            "the second end has no answer: {:?}",
            end.0
        );
        let refusal = replies.remove(2).unwrap_err();
        assert_eq!(refusal.code(), Code::BadRequest, "{:?}", end.0);
        assert_eq!(refusal.offset(), Some(bytes.len() as u64), "{:?}", end.0);
        assert!(!site.home("a").exists());
    }
    let replies = site.ada(&[put("a", b"hello"), sent(b"hello").with_body(b"more")]);
    assert_eq!(answers(replies)[1], stored(b"hello"));
}

#[test]
fn a_damaged_partial_file_never_becomes_the_file() {
    let site = Site::new();
    site.ada(&[put("a", b"hello"), part(0, b"hell"), command("cancel")]);
    let partial = site.home(&names(&site)[0]);
    // Damaged: the hash of the bytes tells the client so.
    fs::write(&partial, "hexx").unwrap();
    let replies = site.ada(&[put("a", b"hello"), part(4, b"o"), sent(b"hello")]);
    match &replies[1] {
        Ok((
            Answer::Send {
                offset: 4,
                prefix_hash,
            },
            _,
        )) => assert_eq!(*prefix_hash, hash(b"hexx")),
        other => panic!("{other:?}"),
    }
    // This client has not compared.
    assert_eq!(codes(replies), [None, Some(Code::WrongHash)]);
    assert!(names(&site).is_empty());
    // Too long: the server begins at the start.
    site.ada(&[put("a", b"hello"), part(0, b"hell"), command("cancel")]);
    fs::write(&partial, "hello and more").unwrap();
    let replies = site.ada(&[put("a", b"hello"), part(0, b"hello"), sent(b"hello")]);
    assert!(matches!(
        replies[1],
        Ok((Answer::Send { offset: 0, .. }, _))
    ));
    assert_eq!(fs::read(site.home("a")).unwrap(), b"hello");
}

#[test]
fn a_content_with_another_hash_is_refused_and_the_old_file_stays() {
    let site = Site::new();
    fs::write(site.home("a"), "old").unwrap();
    let messages = [
        put("a", b"hello").replacing(),
        part(0, b"jello"),
        sent(b"hello"),
        put_at_once("a", b"hello").replacing().with_body(b"jello"),
        on("stat", "a"),
    ];
    let codes = codes(site.ada(&messages));
    let wrong = Some(Code::WrongHash);
    assert_eq!(codes, [None, wrong, wrong, None]);
    assert_eq!(fs::read(site.home("a")).unwrap(), b"old");
    assert_eq!(names(&site), ["a"]);
}

#[test]
fn an_existing_file_is_replaced_only_if_the_client_asks_for_it() {
    let site = Site::new();
    fs::write(site.home("a"), "old").unwrap();
    let refused = site.ada(&[put("a", b"hello"), put_at_once("a", b"hello")]);
    assert_eq!(codes(refused), [Some(Code::Exists); 2]);
    assert_eq!(fs::read(site.home("a")).unwrap(), b"old");
    let replies = site.ada(&[put_at_once("a", b"hello").replacing()]);
    assert_eq!(answers(replies), [stored(b"hello")]);
    // The same again, whose answer was lost.
    let replies = site.ada(&[put_known("a", b"hello"), put_at_once("a", b"hello")]);
    assert_eq!(answers(replies), [stored(b"hello"), stored(b"hello")]);
    // Without the hash the server cannot know.
    let replies = site.ada(&[put("a", b"hello"), put_known("a", b"jello")]);
    assert_eq!(codes(replies), [Some(Code::Exists); 2]);
    let known = put_known("a", b"jello").replacing();
    let replies = site.ada(&[known, part(0, b"jello"), sent(b"jello")]);
    assert_eq!(answers(replies)[1], stored(b"jello"));
}

#[test]
fn a_file_that_appears_during_the_upload_is_not_replaced() {
    use socketserver::ExchangeHandler;
    use socketserver::mock::MockStream;

    let site = Site::new();
    // The first part is in the exchange of the put, which waits for the second: a file can only
    // come into being between the two reads, which is what this reader does.
    let messages = with_login(&[put("a", b"hello")]);
    let (mut client, recording) = MockStream::new()
        .chunk(messages)
        .chunk(part(0, b"he").bytes())
        .into_request();
    let mut session = site.session();
    session.setup(&mut client).unwrap();
    session.exchange(&mut client).unwrap();
    session.exchange(&mut client).unwrap_err();
    drop((client, recording));
    fs::write(site.home("a"), "mine").unwrap();
    let replies = site.ada(&[put("a", b"hello")]);
    assert_eq!(codes(replies), [Some(Code::Exists)]);
    assert_eq!(fs::read(site.home("a")).unwrap(), b"mine");
}

#[test]
fn a_part_that_does_not_fit_ends_the_upload_and_the_rest_is_ignored() {
    let site = Site::new();
    for (wrong, kept) in [
        (part(3, b"lo"), 2),
        (part(0, b"hello"), 2),
        (part(1, b"ello"), 2),
        (part(2, b"llo and more"), 2),
        (part(2, b""), 2),
        (command("pwd"), 2),
    ] {
        let messages = [
            put("a", b"hello"),
            part(0, b"he"),
            wrong.clone(),
            part(2, b"llo"),
            sent(b"hello"),
            command("pwd"),
        ];
        let mut replies = site.ada(&messages);
        let refusal = replies.remove(2).unwrap_err();
        assert_eq!(refusal.code(), Code::BadRequest, "{:?}", wrong.0);
        assert_eq!(refusal.offset(), Some(kept), "{:?}", wrong.0);
        // Of the three messages after the refusal, the part and the end have no answer.
        assert_eq!(replies.len(), 3);
        assert!(!site.home("a").exists());
        fs::remove_file(site.home(&names(&site)[0])).unwrap();
    }
}

#[test]
fn a_client_may_cancel_at_any_time() {
    let site = Site::new();
    let replies = site.ada(&[
        command("cancel"),
        put("a", b"hello"),
        part(0, b"he"),
        command("cancel"),
        part(2, b"llo"),
        sent(b"hello"),
        command("cancel"),
        command("pwd"),
    ]);
    let answers = answers(replies);
    let cancelled = |offset| Answer::Cancelled { offset };
    assert_eq!(answers[0], cancelled(None));
    assert_eq!(answers[2..4], [cancelled(Some(2)), cancelled(None)]);
}

#[test]
fn an_announcement_that_cannot_be_is_refused_before_anything_is_made() {
    let site = Site::new();
    fs::create_dir(site.home("d")).unwrap();
    nix::unistd::mkfifo(&site.home("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let sized = |size| put("a", b"hello").with(|request| request.size = Some(size));
    let cases = [
        (sized(i64::MAX.unsigned_abs()), Code::NoSpace),
        (sized(u64::MAX), Code::BadRequest),
        (sized(4).with_body(b"hello"), Code::BadRequest),
        (put("a", b"x").with(|it| it.size = None), Code::BadRequest),
        (
            put_at_once("a", b"x").with(|it| it.hash = None),
            Code::BadRequest,
        ),
        (put("a", b""), Code::BadRequest),
        (
            put("a", b"x").with(|it| it.hash = Some("00".into())),
            Code::BadRequest,
        ),
        (
            put("a", b"x").with(|it| it.digest = Some("md4".into())),
            Code::BadRequest,
        ),
        (
            put("a", b"x").with(|it| it.if_exists = Some("".into())),
            Code::BadRequest,
        ),
        (put("a", b"x").with(|it| it.path = None), Code::BadRequest),
        (put("d", b"x").replacing(), Code::IsADirectory),
        (put("new/", b"x"), Code::IsADirectory),
        (put("fifo", b"x").replacing(), Code::NotAFile),
        (put("../a", b"x"), Code::Outside),
        (put("missing/a", b"x"), Code::NotFound),
        (put(&"x".repeat(256), b"x"), Code::NameTooLong),
        (
            put(&format!(".{}.part", "0".repeat(48)), b"x"),
            Code::ReservedName,
        ),
    ];
    let messages = Vec::from_iter(cases.iter().map(|(message, _)| message.clone()));
    let codes = codes(site.ada(&messages));
    for ((message, expected), code) in cases.iter().zip(&codes) {
        assert_eq!(*code, Some(*expected), "{:?}", message.0);
    }
    assert_eq!(names(&site).len(), 2);
}

#[test]
fn a_download_goes_on_only_with_the_bytes_of_the_same_version() {
    let site = Site::new();
    let content = content();
    fs::write(site.home("a"), &content).unwrap();
    let begin = |replies: &[Reply]| match &replies[1] {
        Ok((
            Answer::Begin {
                version,
                offset,
                size,
            },
            _,
        )) => {
            assert_eq!(*size, content.len() as u64);
            (version.clone(), *offset)
        }
        other => panic!("{other:?}"),
    };
    let (version, offset) = begin(&site.ada(&[on("get", "a")]));
    assert_eq!(offset, 0);
    let resume = |version: &str, offset: u64, hash: String| {
        let get = on("get", "a").with(|request| {
            request.version = Some(version.to_owned());
            request.offset = Some(offset);
            request.prefix_hash = Some(hash);
        });
        site.ada(&[get])
    };
    for wanted in [1, 700_000, content.len()] {
        let replies = resume(&version, wanted as u64, hash(&content[..wanted]));
        assert_eq!(begin(&replies).1, wanted as u64);
        let (rest, last) = received(replies);
        assert!(rest == content[wanted..]);
        let (size, hash) = (content.len() as u64, hash(&content));
        assert_eq!(last, Answer::Sent { size, hash });
    }
    for (version, offset, hash) in [
        ("other", 5, hash(&content[..5])),
        (&*version, 5, hash(b"wrong")),
        (&*version, content.len() as u64 + 1, hash(&content)),
        (&*version, u64::MAX, hash(&content)),
    ] {
        let replies = resume(version, offset, hash);
        assert_eq!(begin(&replies).1, 0);
        assert!(received(replies).0 == content);
    }
    // Written in place, with the same size.
    let mut changed = content.clone();
    changed[0] ^= 1;
    fs::write(site.home("a"), &changed).unwrap();
    let replies = resume(&version, 5, hash(&content[..5]));
    assert_eq!(begin(&replies).1, 0);
    assert_ne!(begin(&replies).0, version);
}
