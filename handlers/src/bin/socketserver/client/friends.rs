//! The chat's client over datagrams: friends with names.

use std::io::{BufRead, Write};
use std::str::FromStr;

use super::conversation::MESSAGE_SIZE;
use super::failure::{Failure, Problem};
use super::user::User;
use crate::url::Url;

/// The word that leaves a friend.
const LEAVE: &[u8] = b"q";

/// Somebody to talk with: `NAME=URL`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Friend {
    name: String,
    url: Url,
}

impl FromStr for Friend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text
            .split_once('=')
            .ok_or("write NAME=URL, such as Jack=udp://127.0.0.1:8081")?;
        let name = name.trim().to_owned();
        if name.is_empty() {
            return Err("the name is missing before the URL".to_owned());
        }
        match url.parse::<Url>() {
            Ok(url @ (Url::Udp(_) | Url::Unixgram(_))) => Ok(Self { name, url }),
            Ok(_) => Err("friends are at udp:// and unixgram:// URLs".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Friend {
    /// Finds two friends of one name.
    pub fn check_names(friends: &[Self]) -> Result<(), String> {
        let twice = friends.iter().enumerate().find(|(index, friend)| {
            let mut before = friends[..*index].iter();
            before.any(|other| other.name == friend.name)
        });
        match twice {
            Some((_, friend)) => Err(format!("there are two friends named {:?}", friend.name)),
            None => Ok(()),
        }
    }
}

/// Talks with one friend after the other: a name picks one, `q` leaves, and the end of the input ends
/// it all. An empty line, or a name that nobody has, is asked for again.
///
/// `connect` gives a function that sends a message and waits for the answer.
pub fn chat<R: BufRead, W: Write, E>(
    user: &mut User<R, W>,
    friends: &[Friend],
    mut connect: impl FnMut(&Url) -> Result<E, Problem>,
) -> Result<(), Failure>
where
    E: FnMut(&[u8]) -> Result<Vec<u8>, Problem>,
{
    let names = Vec::from_iter(friends.iter().map(|friend| friend.name.as_str()));
    let prompt = format!("friend ({})> ", names.join(", "));
    while let Some(name) = user.ask(&prompt, MESSAGE_SIZE).map_err(Failure::Here)? {
        let name = name.trim_ascii();
        let mut friends = friends.iter();
        let Some(friend) = friends.find(|friend| friend.name.as_bytes() == name) else {
            continue;
        };
        let mut talk = || {
            let exchange = connect(&friend.url)?;
            talk_with(user, &friend.url, exchange)
        };
        if talk().map_err(|problem| problem.at(&friend.url))? == Left::Here {
            break;
        }
    }
    Ok(())
}

/// How a talk ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Left {
    /// With the word to leave.
    Friend,
    /// With the end of the input.
    Here,
}

/// Sends each line, without white space at its ends, and shows the answer, until `q` or the end of the
/// input. An empty line is asked for again.
pub fn talk_with<R: BufRead, W: Write>(
    user: &mut User<R, W>,
    url: &Url,
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

    fn friends() -> [Friend; 2] {
        ["Jack=udp://127.0.0.1:1", "Jedan=udp://127.0.0.1:2"].map(|it| it.parse().unwrap())
    }

    /// What is sent to whom, and what is shown.
    fn run(input: &str) -> (Vec<String>, String, Result<(), Failure>) {
        let mut sent = Vec::new();
        let mut output = Vec::new();
        let mut user = User::new(input.as_bytes(), &mut output);
        let sent_by = std::cell::RefCell::new(&mut sent);
        let result = chat(&mut user, &friends(), |url| {
            let url = url.to_string();
            let sent_by = &sent_by;
            Ok(move |message: &[u8]| {
                let message = String::from_utf8_lossy(message).into_owned();
                sent_by.borrow_mut().push(format!("{url} {message}"));
                if message == "refused" {
                    let refused = std::io::ErrorKind::ConnectionRefused;
                    return Err(std::io::Error::from(refused).into());
                }
                Ok(format!("you said {message}").into_bytes())
            })
        });
        (sent, String::from_utf8(output).unwrap(), result)
    }

    /// Row 6 of the tutorial.
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
        let expected = "from udp://127.0.0.1:1: you said hi\n\
             from udp://127.0.0.1:1: you said 你好\n\
             from udp://127.0.0.1:2: you said hello\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_empty_line_and_an_unknown_name_are_asked_for_again() {
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
    fn what_is_no_friend_is_refused_with_the_reason() {
        for (text, reason) in [
            ("Jack", "write NAME=URL"),
            (" =udp://127.0.0.1:1", "the name is missing"),
            ("Jack=tcp://127.0.0.1:1", "udp:// and unixgram://"),
            ("Jack=127.0.0.1:1", "it has no scheme"),
        ] {
            let error = text.parse::<Friend>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let twice = ["Jack=udp://127.0.0.1:1", "Jack=udp://127.0.0.1:2"];
        let error = Friend::check_names(&twice.map(|it| it.parse().unwrap())).unwrap_err();
        assert_eq!(error, "there are two friends named \"Jack\"");
        assert_eq!(Friend::check_names(&friends()), Ok(()));
    }

    #[test]
    fn without_names_there_is_one_friend_who_is_left_with_q() {
        let url = Url::local_udp(8081);
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
