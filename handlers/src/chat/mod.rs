//! A person who answers clients, over streams and datagrams.
//!
//! [`Chat`] is the handler, [`Operator`] the person: a keyboard and a screen, which in the command
//! are standard input and output.

mod datagram;
mod keyboard;
mod operator;
mod printable;
mod queue;
mod stream;

#[cfg(test)]
pub(crate) use operator::tests::{Screen, operator};
pub use operator::{Operator, Turn};
pub use printable::printable;

/// The word that ends a call, from either side.
pub const BYE: &[u8] = b"bye";

/// Passes what a client says to an [`Operator`], and what the operator types to the client: the
/// tutorial's phone call and chat over TCP, and its chat over UDP.
///
/// # Over a stream: a call
///
/// The two sides take turns, the client first. A message is what one read of at most 1024 bytes
/// gives, and no mark ends it; a character that such a read cuts in two is shown as U+FFFD twice.
///
/// 1. The client's message is shown on the operator's screen, made [`printable`]. The first one takes
///    the operator, for the whole call: no other call is shown or answered before this one has ended.
///    A client that has connected and says nothing holds nobody up, unless the server itself serves
///    one at a time, as the tutorial's does.
/// 2. If it was [`BYE`], the call is over. A line end after the word does not matter.
/// 3. The operator types a line, which is sent as it is, without its end. There is no empty message
///    in a stream, so an empty line is asked for again.
/// 4. If it was [`BYE`], the call is over.
///
/// A client that closes without `bye` is logged at level `info` with its address; one that resets
/// the connection is an error of the request. The operator who has [left](Operator) ends every call
/// with `bye`, after the client's message has been shown; so does a server that is stopping, after
/// the client's message or, where none has come yet, at once.
///
/// # Over datagrams: a message, and a reply
///
/// Each datagram is shown after the address of its sender, its first 1024 bytes, and an empty one
/// too, since over datagrams it is a message. The line that the operator types then is sent to that
/// sender, without white space at its ends; an empty line is an empty datagram. A `bye` is a message
/// like any other. If the operator has left, or the server is stopping, `bye` is what is sent, so
/// that the client does not wait.
///
/// ```
/// use socketserver::mock::MockStream;
/// use socketserver_handlers::chat::{Chat, Operator};
///
/// let operator = Operator::new(b"hello yourself\nbye\n".as_slice(), std::io::sink());
/// let client = MockStream::new().chunk("hello").chunk("how are you?");
/// let recording = client.run(Chat::new(operator));
/// assert_eq!(recording.writes(), [b"hello yourself".as_slice(), b"bye"]);
/// ```
#[derive(Debug, Clone)]
pub struct Chat {
    operator: Operator,
}

impl Chat {
    /// A handler that passes messages to and from `operator`.
    #[must_use]
    pub fn new(operator: Operator) -> Self {
        Self { operator }
    }
}
