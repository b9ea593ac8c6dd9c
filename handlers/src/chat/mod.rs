//! A person who answers clients, over streams and datagrams.
//!
//! [`Chat`] is the handler. [`Operator`] is the person: a keyboard and a screen, which in the
//! command are standard input and output.

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

/// The message that ends a call, from either side.
pub const BYE: &[u8] = b"bye";

/// Passes the messages of clients to an [`Operator`], and the operator's lines to the clients: the
/// tutorial's phone call and chat over TCP, and its chat over UDP.
///
/// # Over a stream: a call
///
/// The two sides take turns, the client first. A message is what one read of at most 1024 bytes
/// returns, without an end mark. A character that a read splits is shown as U+FFFD twice.
///
/// 1. The client's message is shown on the operator's screen, made [`printable`]. The first message
///    takes the operator for the whole call: no other call is shown or answered before this one has
///    ended. A client that sends nothing delays no other client, unless the server itself serves
///    one at a time, as the tutorial's does.
/// 2. [`BYE`] from the client, with or without a line end, ends the call.
/// 3. The operator types a line, which is sent as it is, without its end. A stream has no empty
///    message, so an empty line is skipped.
/// 4. [`BYE`] from the operator ends the call.
///
/// A client that closes without `bye` is logged at level `info` with its address; a client that
/// resets the connection is an error of the request. If the operator has [left](Operator), every
/// call ends with `bye` after the client's message was shown. A stopping server also ends a call
/// with `bye`: after the client's message, or at once if no message has come yet.
///
/// # Over datagrams: a message, and a reply
///
/// Each datagram is shown after the address of its sender: its first 1024 bytes, also of an empty
/// datagram, which is a message. Then the operator types a line, which is sent to that sender
/// without white space at its ends; an empty line is an empty datagram. `bye` is a message like any
/// other. If the operator has left, or the server is stopping, the reply is `bye`, so that the
/// client does not wait.
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
