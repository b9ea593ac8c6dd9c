//! A file service with two users, and the conversations of clients.

use std::path::PathBuf;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use socketserver::HandlerResult;
use socketserver::mock::MockStream;
use socketserver_handlers::files::{
    AccountFile, Answer, Code, ContentDigest, FileService, FileSession, Greeting, PART_SIZE,
    Refusal, Request,
};
use socketserver_handlers::password::StoredPassword;
use tempfile::TempDir;

/// The answer to a message, with the body if it has one.
pub type Reply = Result<(Answer, Vec<u8>), Refusal>;

/// A service in a temporary directory. The password of both users is `sesame`.
pub struct Site {
    pub directory: TempDir,
    pub service: FileService,
}

impl Site {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let users = directory.path().join("users");
        let password = cheap("sesame");
        for name in ["ada", "bob"] {
            AccountFile::new(&users).add(name, &password, None).unwrap();
        }
        let homes = directory.path().join("homes");
        std::fs::create_dir(&homes).unwrap();
        std::fs::create_dir(homes.join("ada")).unwrap();
        let service = FileService::new(homes, users).unwrap();
        Self { directory, service }
    }

    /// The handler of a connection.
    pub fn session(&self) -> FileSession {
        FileSession::new(self.service.clone())
    }

    pub fn users(&self) -> AccountFile {
        AccountFile::new(self.directory.path().join("users"))
    }

    /// A path in the home of ada.
    pub fn home(&self, path: &str) -> PathBuf {
        self.directory.path().join("homes/ada").join(path)
    }

    /// The conversation of ada, after her login.
    pub fn ada(&self, messages: &[Message]) -> Vec<Reply> {
        let (replies, result) = self.talk(&with_login(messages));
        result.unwrap();
        replies
    }

    /// The conversation of a client that sends these bytes and ends its side.
    pub fn talk(&self, bytes: &[u8]) -> (Vec<Reply>, HandlerResult) {
        // Not in one piece, and not in pieces of one size.
        let cuts = [1000, 3, 70, 5000].into_iter().cycle();
        let (mut client, mut rest) = (MockStream::new(), bytes);
        for cut in cuts {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            client = client.chunk(piece);
            rest = after;
        }
        let recording = client.run(self.session());
        let written = recording.written();
        let mut written = written.as_slice();
        Greeting::read(&mut written).unwrap().unwrap();
        let replies = parse(written);
        match recording.result() {
            Ok(()) => (replies, Ok(())),
            Err(error) => (replies, Err(error.to_string().into())),
        }
    }
}

/// A password whose check costs nothing: most tests are about something else.
fn cheap(password: &str) -> StoredPassword {
    let costs = argon2::Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, costs);
    let hashed = argon2.hash_password(password.as_bytes()).unwrap();
    hashed.to_string().parse().unwrap()
}

/// A message of a client, with its body.
#[derive(Clone)]
pub struct Message(pub Request, pub Vec<u8>);

/// A command without fields.
pub fn command(name: &str) -> Message {
    Message(Request::new(name), Vec::new())
}

/// A command with a path.
pub fn on(name: &str, path: &str) -> Message {
    command(name).with(|request| request.path = Some(path.to_owned()))
}

pub fn login(user: &str, password: &str) -> Message {
    command("login").with(|request| {
        request.user = Some(user.to_owned());
        request.password = Some(password.to_owned());
    })
}

pub fn rename(from: &str, to: &str) -> Message {
    command("rename").with(|request| {
        request.from = Some(from.to_owned());
        request.to = Some(to.to_owned());
    })
}

pub fn hash(content: &[u8]) -> String {
    let mut hasher = ContentDigest::Sha256.hasher();
    hasher.update(content);
    hasher.hex()
}

/// The announcement of a content.
pub fn put(path: &str, content: &[u8]) -> Message {
    on("put", path).with(|request| request.size = Some(content.len() as u64))
}

/// The announcement of a content whose hash is known.
pub fn put_known(path: &str, content: &[u8]) -> Message {
    put(path, content).with(|request| request.hash = Some(hash(content)))
}

/// The announcement of a content, and the content.
pub fn put_at_once(path: &str, content: &[u8]) -> Message {
    put_known(path, content).with_body(content)
}

pub fn part(offset: u64, body: &[u8]) -> Message {
    let part = command("part").with(|request| request.offset = Some(offset));
    part.with_body(body)
}

/// The end of an upload, with the hash of its content.
pub fn sent(content: &[u8]) -> Message {
    command("sent").with(|request| request.hash = Some(hash(content)))
}

impl Message {
    pub fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.0);
        self
    }

    pub fn replacing(self) -> Self {
        self.with(|request| request.if_exists = Some("replace".to_owned()))
    }

    pub fn with_body(self, body: &[u8]) -> Self {
        let with_size = self.with(|request| request.data_size = body.len() as u64);
        Self(with_size.0, body.to_vec())
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.write(&mut bytes).unwrap();
        bytes.extend(&self.1);
        bytes
    }
}

/// The bytes of a login of ada, and of these messages.
pub fn with_login(messages: &[Message]) -> Vec<u8> {
    let messages = [&[login("ada", "sesame")], messages].concat();
    messages.iter().flat_map(Message::bytes).collect()
}

/// The messages of the server.
pub fn parse(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        replies.push(Answer::read(&mut bytes).unwrap().map(|answer| {
            let size = match answer {
                Answer::Part { data_size, .. } => data_size,
                _ => 0,
            };
            assert!(size <= PART_SIZE);
            let (body, rest) = bytes.split_at(usize::try_from(size).unwrap());
            bytes = rest;
            (answer, body.to_vec())
        }));
    }
    replies
}

/// The answers, which are no refusals, without their bodies; that to the login is left out.
pub fn answers(replies: Vec<Reply>) -> Vec<Answer> {
    let mut answers = Vec::from_iter(replies.into_iter().map(|reply| reply.unwrap().0));
    assert!(matches!(answers.remove(0), Answer::Welcome { .. }));
    answers
}

/// The codes of the replies after the login; `None` for an answer.
pub fn codes(replies: Vec<Reply>) -> Vec<Option<Code>> {
    let replies = replies.into_iter().skip(1);
    Vec::from_iter(replies.map(|reply| reply.err().map(|refusal| refusal.code())))
}
