//! The chat's client over datagrams: friends with names.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TryMapValueParser, TypedValueParser, ValueParserFactory};

use super::conversation::MESSAGE_SIZE;
use super::user::User;
use crate::failure::{Failure, Problem};
use crate::url::{DatagramUrl, Url};

/// The line that leaves a friend.
const LEAVE: &[u8] = b"q";

/// A person to talk with: `NAME=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Friend {
    name: String,
    url: DatagramUrl,
}

impl FromStr for Friend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_os_string(text.into())
    }
}

/// The URL need not be UTF-8.
impl ValueParserFactory for Friend {
    type Parser = TryMapValueParser<OsStringValueParser, fn(OsString) -> Result<Friend, String>>;

    fn value_parser() -> Self::Parser {
        OsStringValueParser::new().try_map(Friend::from_os_string)
    }
}

impl Friend {
    #[allow(clippy::needless_pass_by_value)]
    fn from_os_string(text: OsString) -> Result<Self, String> {
        let text = text.as_bytes();
        let end = text
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or("write NAME=URL, such as Jack=udp://127.0.0.1:8081")?;
        let (name, url) = (&text[..end], OsStr::from_bytes(&text[end + 1..]));
        let name = std::str::from_utf8(name).map_err(|_| "the name is not UTF-8")?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err("the name is missing before the URL".to_owned());
        }
        match Url::from_os_str(url) {
            Ok(Url::Datagram(url)) => Ok(Self { name, url }),
            Ok(Url::Stream(_)) => Err("a friend has a udp:// or unixgram:// URL".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Friends of whom no two have the same name.
#[derive(Debug)]
pub struct Friends(Vec<Friend>);

impl TryFrom<Vec<Friend>> for Friends {
    type Error = Failure;

    fn try_from(friends: Vec<Friend>) -> Result<Self, Failure> {
        let mut names = HashSet::new();
        match friends.iter().find(|friend| !names.insert(&friend.name)) {
            Some(Friend { name, .. }) => Err(Failure::usage(format!(
                "there are two friends named {name:?}; give them different names"
            ))),
            None => Ok(Self(friends)),
        }
    }
}

impl Friends {
    /// Talks with one friend after the other: a name picks a friend, `q` leaves the friend, and the
    /// end of the input ends the chat. An empty line and an unknown name are skipped.
    ///
    /// `connect` returns a function that sends a message and waits for the answer.
    pub fn chat<R: BufRead, W: Write, E>(
        &self,
        user: &mut User<R, W>,
        mut connect: impl FnMut(&DatagramUrl) -> Result<E, Problem>,
    ) -> Result<(), Failure>
    where
        E: FnMut(&[u8]) -> Result<Vec<u8>, Problem>,
    {
        let names = Vec::from_iter(self.0.iter().map(|friend| friend.name.as_str()));
        let prompt = format!("friend ({})> ", names.join(", "));
        while let Some(name) = user.ask(&prompt, MESSAGE_SIZE).map_err(Failure::Here)? {
            let name = name.trim_ascii();
            let mut friends = self.0.iter();
            let Some(friend) = friends.find(|friend| friend.name.as_bytes() == name) else {
                continue;
            };
            let mut talk = || {
                let exchange = connect(&friend.url)?;
                talk_with(user, &friend.url, exchange)
            };
            let left = talk().map_err(|problem| problem.at(&friend.url.clone().into()))?;
            if left == Left::Here {
                break;
            }
        }
        Ok(())
    }
}

/// How a talk ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// With `q`.
    Friend,
    /// With the end of the input.
    Here,
}

/// Sends each line, without white space at its ends, and shows the answer, until `q` or the end of
/// the input. An empty line is skipped.
pub fn talk_with<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    url: &DatagramUrl,
    mut exchange: impl FnMut(&[u8]) -> Result<Vec<u8>, Problem>,
) -> Result<Left, Problem> {
    let sender = url.to_string();
    while let Some(line) = user.ask("message (q leaves)> ", MESSAGE_SIZE)? {
        match line.trim_ascii() {
            b"" => {}
            LEAVE => return Ok(Left::Friend),
            message => user.show_from(&sender, &exchange(message)?)?,
        }
    }
    Ok(Left::Here)
}

#[cfg(test)]
mod tests {
    use super::super::user::tests::piped;
    use super::*;

    fn friends(texts: [&str; 2]) -> Result<Friends, Failure> {
        Vec::from(texts.map(|it| it.parse().unwrap())).try_into()
    }

    /// The messages to each friend, the text that is shown, and the result.
    fn run(input: &str) -> (Vec<String>, String, Result<(), Failure>) {
        let mut sent = Vec::new();
        let mut output = Vec::new();
        let mut user = User::new(input.as_bytes(), &mut output);
        let sent_by = std::cell::RefCell::new(&mut sent);
        let friends = friends(["Jack=udp://127.0.0.1:1", "Jedan=udp://127.0.0.1:2"]).unwrap();
        let result = friends.chat(&mut user, |url| {
            let url = url.to_string();
            let sent_by = &sent_by;
            Ok(move |message: &[u8]| {
                let message = String::from_utf8_lossy(message).into_owned();
                sent_by.borrow_mut().push(format!("{url} {message}"));
                if message == "refused" {
                    let refused = std::io::ErrorKind::ConnectionRefused;
                    return Err(std::io::Error::from(refused).into());
                }
                Ok(format!("you sent {message}").into_bytes())
            })
        });
        (sent, String::from_utf8(output).unwrap(), result)
    }

    #[test]
    fn a_friend_is_picked_by_name_and_left_with_q() {
        let (sent, shown, result) = run("Jack\nhi\n 你好 \nq\nJedan\nhello\nq\n");
        result.unwrap();
        let expected = [
            "udp://127.0.0.1:1 hi",
            "udp://127.0.0.1:1 你好",
            "udp://127.0.0.1:2 hello",
        ];
        assert_eq!(sent, expected);
        let expected = "from udp://127.0.0.1:1: you sent hi\n\
             from udp://127.0.0.1:1: you sent 你好\n\
             from udp://127.0.0.1:2: you sent hello\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_empty_line_and_an_unknown_name_are_skipped() {
        let (sent, _, result) = run("\nNobody\nJack \n\n  \nhi\n");
        result.unwrap();
        assert_eq!(sent, ["udp://127.0.0.1:1 hi"]);
    }

    #[test]
    fn a_friend_who_is_not_there_is_named() {
        let (_, _, result) = run("Jedan\nrefused\n");
        let message = result.unwrap_err().to_string();
        assert!(
            message.starts_with("udp://127.0.0.1:2: there is no server"),
            "{message}"
        );
    }

    #[test]
    fn a_text_that_is_no_friend_is_refused_with_the_reason() {
        for (text, reason) in [
            ("Jack", "write NAME=URL"),
            (" =udp://127.0.0.1:1", "the name is missing"),
            ("Jack=tcp://127.0.0.1:1", "udp:// or unixgram://"),
            ("Jack=127.0.0.1:1", "the URL has no scheme"),
        ] {
            let error = text.parse::<Friend>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let twice = friends(["Jack=udp://127.0.0.1:1", "Jack=udp://127.0.0.1:2"]);
        let error = twice.unwrap_err().to_string();
        assert!(
            error.contains("there are two friends named \"Jack\""),
            "{error}"
        );
    }

    #[test]
    fn without_names_there_is_one_friend_who_is_left_with_q() {
        let Ok(Url::Datagram(url)) = "udp://127.0.0.1:8081".parse() else {
            panic!("the text is the URL of a datagram server");
        };
        for (input, left) in [("hi\nq\nlost\n", Left::Friend), ("hi\n", Left::Here)] {
            let (shown, result) = piped(input, |user| {
                assert_eq!(talk_with(user, &url, |it| Ok(it.to_vec()))?, left);
                Ok(())
            });
            result.unwrap();
            assert_eq!(shown, b"from udp://127.0.0.1:8081: hi\n");
        }
    }
}
