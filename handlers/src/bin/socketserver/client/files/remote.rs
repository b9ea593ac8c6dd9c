//! A session with a file service, which outlives its connections: [`Remote`].

use std::io::{BufReader, Write};
use std::thread;
use std::time::Duration;

use socketserver_handlers::files::{
    Answer, Code, ContentDigest, Entry, Greeting, Request, VERSION,
};

use super::super::connection::{Connection, Connector};
use super::super::time_left::Exchanges;
use super::trouble::Trouble;
use super::words::path_for_user;
use crate::failure::Problem;
use crate::standard_error::print_line;

/// The longest wait before another try.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The most entries of a directory that are held in memory, so that a server that sends names
/// without end cannot fill the memory.
const MOST_ENTRIES: usize = 1_000_000;

/// A session of a user. After a lost connection, the client connects again, logs in and changes to
/// the directory.
pub struct Remote<'a> {
    connector: &'a Connector,
    login: Request,
    allows_plain_passwords: bool,
    retries: u32,
    is_quiet: bool,
    pub digest: ContentDigest,
    connection: Option<BufReader<Connection>>,
    directory: String,
    /// The bytes of contents that have been sent or received.
    moved: u64,
}

/// The options of a session.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    pub digest: ContentDigest,
    pub allows_plain_passwords: bool,
    pub retries: u32,
    pub is_quiet: bool,
}

impl<'a> Remote<'a> {
    /// Connects and logs in.
    pub fn connect(
        connector: &'a Connector,
        user: &str,
        password: String,
        manner: Manner,
    ) -> Result<Self, Trouble> {
        let login = Request {
            user: Some(user.to_owned()),
            password: Some(password),
            ..Request::new("login")
        };
        let mut remote = Self {
            connector,
            login,
            allows_plain_passwords: manner.allows_plain_passwords,
            retries: manner.retries,
            is_quiet: manner.is_quiet,
            digest: manner.digest,
            connection: None,
            directory: "/".to_owned(),
            moved: 0,
        };
        remote.connection()?;
        Ok(remote)
    }

    /// The current directory.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// The connection: a new one if there is none, or if the server has ended the old one.
    pub fn connection(&mut self) -> Result<&mut BufReader<Connection>, Trouble> {
        let is_over = |it: &BufReader<Connection>| it.get_ref().has_arrived();
        if self.connection.as_ref().is_some_and(is_over) {
            self.connection = None;
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.log_in()?,
        };
        let connection = self.connection.insert(connection);
        connection.get_mut().begin_exchange();
        Ok(connection)
    }

    /// Makes a connection whose user has logged in, in the directory of before.
    fn log_in(&self) -> Result<BufReader<Connection>, Trouble> {
        let mut connection = BufReader::new(self.connector.connect()?);
        let greeting = Greeting::read(&mut connection)??;
        if greeting.version != VERSION {
            let version = greeting.version;
            let what = format!(
                "the server has version {version} of the protocol, which this client lacks"
            );
            return Err(Trouble::Here(what));
        }
        if !self.allows_plain_passwords && !connection.get_ref().is_private() {
            let why = "the connection is not encrypted, and everybody between here and the server \
                       could read the password; give --tls, or --allow-plain-passwords if that is \
                       what you want";
            return Err(Trouble::Here(why.to_owned()));
        }
        self.login.write(connection.get_mut())?;
        match Answer::read(&mut connection)?? {
            Answer::Welcome { .. } => {}
            _ => return Err(Trouble::nonsense("no welcome after the login")),
        }
        if self.directory != "/" {
            let path = Some(self.directory.clone());
            let change = Request {
                path,
                ..Request::new("cd")
            };
            change.write(connection.get_mut())?;
            Answer::read(&mut connection)??;
        }
        Ok(connection)
    }

    /// Ends the connection, since the next bytes of the server are unknown.
    pub fn abandon(&mut self) {
        self.connection = None;
    }

    /// Counts bytes of contents.
    pub fn note_moved(&mut self, bytes: u64) {
        self.moved += bytes;
    }

    /// Repeats an action that has failed for a reason that may pass. If the connection was lost
    /// after bytes of this try had moved, the count of tries begins again. Every refusal counts. A
    /// wrong hash counts too, since the next try could move the same bytes in vain.
    pub fn with_retries<T>(
        &mut self,
        mut act: impl FnMut(&mut Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut tries = 0;
        loop {
            let moved = self.moved;
            let trouble = match act(self) {
                Err(trouble) => trouble,
                done => return done,
            };
            if let Trouble::Lost(_) = trouble {
                self.connection = None;
                if self.moved > moved {
                    tries = 0;
                }
            }
            if !trouble.may_pass() || tries >= self.retries {
                return Err(trouble);
            }
            let wait = Duration::from_secs(1 << tries.min(10)).min(LONGEST_WAIT);
            tries += 1;
            if !self.is_quiet {
                let retries = self.retries;
                let wait = wait.as_secs();
                print_line(format!("{trouble}; try {tries} of {retries} in {wait} s"));
            }
            thread::sleep(wait);
        }
    }

    /// Sends a command, once, and returns its answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, Trouble> {
        let answer = (|| {
            let connection = self.connection()?;
            request.write(connection.get_mut())?;
            connection.get_mut().flush()?;
            Ok(Answer::read(connection)??)
        })();
        if let Err(Trouble::Lost(_)) = answer {
            self.connection = None;
        }
        answer
    }

    /// Sends a command that can be repeated, and returns its answer.
    pub fn ask_again(&mut self, request: &Request) -> Result<Answer, Trouble> {
        self.with_retries(|remote| remote.ask(request))
    }

    /// Changes the directory.
    pub fn change(&mut self, path: &str) -> Result<(), Trouble> {
        let request = Request {
            path: Some(path.to_owned()),
            ..Request::new("cd")
        };
        match self.ask_again(&request)? {
            Answer::Directory { path } => {
                self.directory = path;
                Ok(())
            }
            _ => Err(Trouble::nonsense("no directory after cd")),
        }
    }

    /// What a path means; `None` if there is no such thing.
    pub fn stat(&mut self, path: &str) -> Result<Option<Entry>, Trouble> {
        let request = Request {
            path: Some(path.to_owned()),
            ..Request::new("stat")
        };
        match self.ask(&request) {
            Ok(Answer::Entry { entry }) => Ok(Some(entry)),
            Ok(_) => Err(Trouble::nonsense("no entry after stat")),
            Err(Trouble::Refused(refusal)) if refusal.code() == Code::NotFound => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Calls `each` for every message of a list.
    pub fn list(
        &mut self,
        path: &str,
        mut each: impl FnMut(Vec<Entry>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let request = Request {
            path: Some(path.to_owned()),
            ..Request::new("list")
        };
        let mut answer = self.ask(&request)?;
        let listed = loop {
            match answer {
                Answer::Entries { entries } => {
                    if let Err(trouble) = each(entries) {
                        break Err(trouble);
                    }
                }
                Answer::End { .. } => return Ok(()),
                _ => break Err(Trouble::nonsense("no entries after list")),
            }
            answer = match self.next() {
                Ok(answer) => answer,
                Err(trouble @ Trouble::Refused(_)) => return Err(trouble),
                Err(trouble) => break Err(trouble),
            };
        };
        // The rest of the list is still to come.
        self.connection = None;
        listed
    }

    /// The entries of a directory, in the order of their names.
    pub fn entries(&mut self, path: &str) -> Result<Vec<Entry>, Trouble> {
        self.with_retries(|remote| {
            let mut all = Vec::new();
            remote.list(path, |entries| {
                all.extend(entries);
                match all.len() {
                    0..MOST_ENTRIES => Ok(()),
                    _ => Err(Trouble::Here(format!(
                        "the directory {} has too many entries",
                        path_for_user(path)
                    ))),
                }
            })?;
            all.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(all)
        })
    }

    /// The next message of an answer that has several.
    pub fn next(&mut self) -> Result<Answer, Trouble> {
        let Some(connection) = &mut self.connection else {
            return Err(Problem::Left.into());
        };
        connection.get_mut().begin_exchange();
        Ok(Answer::read(connection)??)
    }

    /// The open connection, in the middle of a transfer.
    pub fn open(&mut self) -> Result<&mut BufReader<Connection>, Trouble> {
        let connection = self.connection.as_mut();
        let connection = connection.ok_or(Trouble::Lost(Problem::Left))?;
        connection.get_mut().begin_exchange();
        Ok(connection)
    }

    /// Ends the session in good order.
    pub fn quit(mut self) {
        if self.connection.is_some() {
            // An error is ignored: a server that has closed already has ended the session as well.
            let _: Result<Answer, Trouble> = self.ask(&Request::new("quit"));
        }
    }
}
