//! The conversation with a client: [`FileSession`].

use std::io::Write;
use std::time::Duration;

use socketserver::{Deadlines, ExchangeHandler, HandlerResult, StreamRequest, blocking};

use crate::files::protocol::{Answer, Greeting, HEADER_SIZE, PART_SIZE, Request, bad};
use crate::files::receive::skip;
use crate::files::refusal::{Code, Interrupted, Refusal};
use crate::files::service::FileService;
use crate::files::user::User;
use crate::framing::FramingError;

/// How long a client has for each step of its login.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many failed logins end the connection.
const LOGINS: u32 = 3;

/// The handler of one connection to a [`FileService`].
///
/// A message of the client is an exchange. The parts of an upload belong to the exchange of their
/// `put`, so that a server that stops lets transfers end.
#[derive(Debug)]
pub struct FileSession {
    service: FileService,
    /// The deadlines of the server.
    deadlines: Deadlines,
    failed_logins: u32,
    user: Option<User>,
}

impl FileSession {
    /// The handler of a connection, whose user is still to log in.
    #[must_use]
    pub fn new(service: FileService) -> Self {
        Self {
            service,
            deadlines: Deadlines::none(),
            failed_logins: 0,
            user: None,
        }
    }

    /// Carries a command out. Returns the answer that is still to be sent, if there is one.
    fn serve(
        &mut self,
        client: &mut StreamRequest,
        request: &Request,
    ) -> Result<Option<Answer>, Interrupted> {
        if let ("put", Some(user)) = (&*request.command, &self.user) {
            return user.put(client, &self.service, request).map(Some);
        }
        skip(client, request.data_size)?;
        let answer = match (&*request.command, &mut self.user) {
            ("quit", _) => {
                client.close_connection();
                Answer::Bye
            }
            ("login", None) => self.login(client, request)?,
            (_, None) => return Err(Refusal::new(Code::LoginRequired).into()),
            ("login", Some(_)) => return Err(Refusal::new(Code::AlreadyLoggedIn).into()),
            // Sent before the client has read that its upload was refused.
            ("part" | "sent", Some(_)) => return Ok(None),
            ("cancel", Some(_)) => Answer::Cancelled { offset: None },
            ("get", Some(user)) => user.get(client, request)?,
            ("list", Some(user)) => user.list(client, request)?,
            (command, Some(user)) => user.answer(&self.service, command, request)?,
        };
        Ok(Some(answer))
    }

    fn login(&mut self, client: &mut StreamRequest, request: &Request) -> Result<Answer, Refusal> {
        let (Some(name), Some(password)) = (&request.user, &request.password) else {
            return Err(bad("login lacks user or password"));
        };
        let table = self.service.accounts().table_or_log();
        let table = table.ok_or_else(|| Refusal::new(Code::Unavailable))?;
        let account = table.get(name);
        let stored = account.map_or(self.service.nobody(), |account| &account.password);
        let place = self.service.locks().wait_for_check()?;
        let is_right = stored.is(password);
        drop(place);
        let Some(account) = account.filter(|_| is_right) else {
            self.failed_logins += 1;
            if self.failed_logins == LOGINS {
                client.close_connection();
            }
            return Err(Refusal::new(Code::Denied));
        };
        let user = User::enter(&self.service, name, account)?;
        log::info!("{}: {name} has logged in", client.client_address());
        let welcome = user.welcome();
        self.user = Some(user);
        self.failed_logins = 0;
        client.set_deadlines(self.deadlines);
        Ok(welcome)
    }

    /// Refuses a user whose account has changed since the login.
    fn check_account(&self) -> Result<(), Refusal> {
        match &self.user {
            Some(user) => user.check_account(&self.service),
            None => Ok(()),
        }
    }
}

impl ExchangeHandler for FileSession {
    /// Sends the greeting, unless no password may be sent over this connection.
    fn setup(&mut self, client: &mut StreamRequest) -> HandlerResult {
        self.deadlines = client.deadlines();
        client.set_deadlines(self.deadlines.capped(PATIENCE));
        if !self.service.takes_plain_passwords() && !is_private(client) {
            refuse(client, Refusal::new(Code::Insecure))?;
            client.flush()?;
            return Err(
                "the client was not asked for a password, since its connection is neither \
                        encrypted nor of this machine"
                    .into(),
            );
        }
        Ok(Greeting::new().write(client)?)
    }

    /// True if the header is complete, or is not valid.
    fn is_complete(&self, unread: &[u8]) -> bool {
        let Some((length, rest)) = unread.split_first_chunk() else {
            return false;
        };
        let length = u32::from_le_bytes(*length);
        length > HEADER_SIZE || rest.len() >= length as usize
    }

    fn exchange(&mut self, client: &mut StreamRequest) -> HandlerResult {
        let request = match Request::read(client) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error @ (FramingError::Io(_) | FramingError::Truncated { .. })) => {
                return Err(error.into());
            }
            Err(error) => return end(client, error.to_string()),
        };
        if request.data_size > PART_SIZE {
            let size = request.data_size;
            return end(
                client,
                format!("a body of {size} bytes is above {PART_SIZE}"),
            );
        }
        if let Err(refusal) = self.check_account() {
            client.close_connection();
            return refuse(client, refusal);
        }
        let served = match &*request.command {
            // These may keep the thread for long: a password, a disk, a count of the home.
            "login" | "put" | "get" | "list" | "du" | "remove" | "rename" => {
                blocking(|| self.serve(client, &request))
            }
            _ => self.serve(client, &request),
        };
        match served {
            Ok(Some(answer)) => Ok(answer.write(client)?),
            Ok(None) => Ok(()),
            Err(Interrupted::Refused(refusal)) => refuse(client, about_paths(refusal, &request)),
            Err(Interrupted::Lost(error)) => Err(error),
        }
    }

    /// Reports logins that have failed.
    fn finish(&mut self, _: &mut StreamRequest) -> HandlerResult {
        match self.failed_logins {
            0 => Ok(()),
            failed => Err(format!("failed logins: {failed}").into()),
        }
    }
}

/// Whether nobody can read the bytes between client and server: the connection is encrypted, or
/// does not leave this machine.
fn is_private(client: &StreamRequest) -> bool {
    #[cfg(feature = "tls")]
    if client.tls_session().is_some() {
        return true;
    }
    client
        .client_address()
        .ip()
        .is_none_or(|ip| ip.is_loopback())
}

/// Ends the connection after a message that breaks the rules.
fn end(client: &mut StreamRequest, why: String) -> HandlerResult {
    client.close_connection();
    refuse(client, Refusal::because(Code::BadMessage, why.clone()))?;
    client.flush()?;
    Err(why.into())
}

/// Sends a refusal. The log also has the cause, which the client does not learn.
fn refuse(client: &mut StreamRequest, refusal: Refusal) -> HandlerResult {
    if let Some(cause) = refusal.cause() {
        log::warn!("{}: {refusal}: {cause}", client.client_address());
    }
    if refusal.code().is_final() {
        client.close_connection();
    }
    Ok(refusal.write(client)?)
}

/// The refusal with the path of the request, if the path is a part of what went wrong.
fn about_paths(refusal: Refusal, request: &Request) -> Refusal {
    let paths = [&request.path, &request.from, &request.to];
    let paths = Vec::from_iter(paths.into_iter().flatten().map(String::as_str));
    match refusal.code() {
        Code::BadMessage
        | Code::BadRequest
        | Code::Denied
        | Code::LoginRequired
        | Code::UnknownCommand => refusal,
        _ if paths.is_empty() => refusal,
        _ => refusal.about(&paths.join(", ")),
    }
}
