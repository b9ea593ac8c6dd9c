//! The person who answers for the server.

use std::fmt;
use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socketserver::{Address, ServerHandle};

use super::keyboard::{Keyboard, Line};
use super::printable::printable;
use super::queue::{Place, Queue};
use crate::one_read::MESSAGE_SIZE;

/// The most calls that have the operator, or wait for the operator.
const MAX_CALLS: usize = 64;

/// White on blue, as in the tutorial, and the reset.
const HIGHLIGHT: (&str, &str) = ("\x1b[1;37;44m", "\x1b[0m");

/// The person who answers for the server: reads messages on a screen, and types replies.
///
/// All clients of a server have the same operator, and clones are the same operator. A handler
/// [takes a turn](Self::take_turn), and has the operator alone until it drops the turn. Other
/// handlers wait, in the order of their arrival. At most 64 calls have a turn or wait for one.
///
/// # The end of the input
///
/// When the input has ended or failed, or the screen has failed, the operator has left. No more
/// lines come, and the log has the error. A failure does not break the call of a client: the client
/// receives the answer `bye`.
///
/// # A server that stops
///
/// A stop request ends the wait for a turn and the wait for a typed line. Each wait checks for the
/// request ten times a second, since a read from a terminal cannot be interrupted. The read itself
/// goes on in a thread of the operator, which starts with the first line and ends with the input. A
/// line that is typed later goes to the next handler that asks.
///
/// # Processes
///
/// Clones in forked processes read from one keyboard, and each line reaches one of them at random.
/// Do not serve the operator with [`ForkingMixIn`](socketserver::ForkingMixIn).
#[derive(Clone)]
pub struct Operator {
    shared: Arc<Shared>,
    prompt: &'static str,
    highlight: bool,
}

struct Shared {
    queue: Queue,
    desk: Mutex<Desk>,
}

struct Desk {
    keyboard: Keyboard,
    screen: Box<dyn Write + Send>,
}

impl Operator {
    /// An operator who types `input` and sees `screen`: standard input and output, or a byte slice
    /// and a vector.
    pub fn new(input: impl BufRead + Send + 'static, screen: impl Write + Send + 'static) -> Self {
        let desk = Desk {
            keyboard: Keyboard::new(input),
            screen: Box::new(screen),
        };
        Self {
            shared: Arc::new(Shared {
                queue: Queue::default(),
                desk: Mutex::new(desk),
            }),
            prompt: "",
            highlight: false,
        }
    }

    /// Sets the text that is printed before the operator types a line; empty by default. For a
    /// terminal.
    #[must_use]
    pub fn prompt(mut self, prompt: &'static str) -> Self {
        self.prompt = prompt;
        self
    }

    /// Sets whether datagrams are shown white on blue; false by default. For a terminal.
    #[must_use]
    pub fn highlight(mut self, highlight: bool) -> Self {
        self.highlight = highlight;
        self
    }

    /// Waits until every earlier call has ended. Returns `None` if `server` stops before that.
    ///
    /// # Errors
    ///
    /// [`QuotaExceeded`](io::ErrorKind::QuotaExceeded) if 64 calls have or wait for a turn already.
    pub fn take_turn(&self, server: &ServerHandle) -> io::Result<Option<Turn<'_>>> {
        let Some(place) = self.shared.queue.join(MAX_CALLS) else {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!(
                    "not answered: {MAX_CALLS} other clients already have the operator or wait"
                ),
            ));
        };
        let is_first = place.wait(|| !server.is_draining());
        Ok(is_first.then(|| Turn {
            operator: self,
            server: server.clone(),
            _place: place,
        }))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // A screen that panics leaves no inconsistent state here.
        let desk = self.shared.desk.lock();
        desk.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operator's attention. Dropping it ends the turn.
#[derive(Debug)]
pub struct Turn<'a> {
    operator: &'a Operator,
    server: ServerHandle,
    _place: Place<'a>,
}

impl Turn<'_> {
    /// Shows a message in a line of its own, made [`printable`].
    pub fn show(&mut self, message: &[u8]) {
        self.print(&printable(message));
    }

    /// Shows a message in a line of its own, made [`printable`], behind the address of its sender,
    /// and [highlighted](Operator::highlight) if that is set.
    pub fn show_from(&mut self, sender: &Address, message: &[u8]) {
        let (on, off) = match self.operator.highlight {
            true => HIGHLIGHT,
            false => ("", ""),
        };
        self.print(&format!("from {sender}: {on}{}{off}", printable(message)));
    }

    /// Waits for a line that the operator types, and returns it without its end. Returns `None` if
    /// the operator has left, or the server is stopping.
    ///
    /// A line of more than 1024 bytes is longer than one message of a peer. The screen shows this,
    /// and the operator is asked again.
    pub fn ask(&mut self) -> Option<Vec<u8>> {
        let mut desk = self.operator.desk();
        let asked = desk.ask(self.operator.prompt, || !self.server.is_draining());
        asked.unwrap_or_else(|error| {
            desk.leave(&error);
            None
        })
    }

    fn print(&mut self, line: &str) {
        let mut desk = self.operator.desk();
        if let Err(error) = desk.print(line) {
            desk.leave(&error);
            desk.screen = Box::new(io::sink());
        }
    }
}

impl Desk {
    fn print(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.screen, "{line}")?;
        self.screen.flush()
    }

    fn ask(&mut self, prompt: &str, is_wanted: impl Fn() -> bool) -> io::Result<Option<Vec<u8>>> {
        let Self { keyboard, screen } = self;
        loop {
            screen.write_all(prompt.as_bytes())?;
            screen.flush()?;
            match keyboard.next_line(MESSAGE_SIZE, &is_wanted)? {
                Some(Line::Text(line)) => return Ok(Some(line)),
                Some(Line::TooLong) => {
                    let message = "not sent: a message has at most";
                    writeln!(screen, "{message} {MESSAGE_SIZE} bytes")?;
                }
                None => return Ok(None),
            }
        }
    }

    fn leave(&mut self, error: &io::Error) {
        log::error!("the operator has left: {error}");
        self.keyboard = Keyboard::Left;
    }
}

impl fmt::Debug for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operator")
            .field("queue", &self.shared.queue)
            .field("prompt", &self.prompt)
            .field("highlight", &self.highlight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use socketserver::layer::LayerHandle;

    use super::*;

    /// A screen that a test reads.
    #[derive(Clone, Default)]
    pub(crate) struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// An operator who types `input`, and the screen.
    pub(crate) fn operator(input: &'static [u8]) -> (Operator, Screen) {
        let screen = Screen::default();
        (Operator::new(input, screen.clone()), screen)
    }

    #[test]
    fn what_is_shown_and_typed_goes_line_by_line() {
        let (operator, screen) = operator(b"hi\n\nbye\n");
        let operator = operator.prompt("> ");
        let server = LayerHandle::new().server().clone();
        let mut turn = operator.take_turn(&server).unwrap().unwrap();
        turn.show(b"hello\n");
        assert_eq!(turn.ask().unwrap(), b"hi");
        assert_eq!(turn.ask().unwrap(), b"");
        turn.show(b"\x1b[2J");
        assert_eq!(turn.ask().unwrap(), b"bye");
        assert_eq!(turn.ask(), None);
        assert_eq!(screen.text(), "hello\n> > \\u{1b}[2J\n> > ");
    }

    #[test]
    fn a_datagram_is_highlighted_if_that_is_set() {
        let (operator, screen) = operator(b"");
        let sender = Address::from(([127, 0, 0, 1], 49152));
        for highlight in [false, true] {
            let operator = operator.clone().highlight(highlight);
            let turn = operator.take_turn(LayerHandle::new().server()).unwrap();
            turn.unwrap().show_from(&sender, b"hi\x1b[0m");
        }
        let expected = "from 127.0.0.1:49152: hi\\u{1b}[0m\n\
             from 127.0.0.1:49152: \x1b[1;37;44mhi\\u{1b}[0m\x1b[0m\n";
        assert_eq!(screen.text(), expected);
    }

    #[test]
    fn a_line_that_is_too_long_is_asked_for_again() {
        let input = [&[b'a'; 1025][..], b"\n", &[b'b'; 1024], b"\n"].concat();
        let screen = Screen::default();
        let operator = Operator::new(io::Cursor::new(input), screen.clone());
        let mut turn = operator
            .take_turn(LayerHandle::new().server())
            .unwrap()
            .unwrap();
        assert_eq!(turn.ask().unwrap(), [b'b'; 1024]);
        assert_eq!(
            screen.text(),
            "not sent: a message has at most 1024 bytes\n"
        );
    }

    #[test]
    fn a_server_that_stops_ends_the_wait_for_a_line_and_for_a_turn() {
        let (keyboard, _typist) = io::pipe().unwrap();
        let operator = Operator::new(io::BufReader::new(keyboard), io::sink());
        let server = LayerHandle::new().server().clone();
        let mut turn = operator.take_turn(&server).unwrap().unwrap();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| turn.ask());
            let waiting = scope.spawn(|| operator.take_turn(&server).unwrap().is_none());
            server.request_shutdown();
            assert_eq!(asked.join().unwrap(), None);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn a_dropped_turn_passes_to_the_next_handler() {
        let (operator, _) = operator(b"one\ntwo\n");
        let server = LayerHandle::new().server().clone();
        let mut first = operator.take_turn(&server).unwrap().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let mut turn = operator.take_turn(&server).unwrap().unwrap();
                turn.ask().unwrap()
            });
            assert_eq!(first.ask().unwrap(), b"one");
            drop(first);
            assert_eq!(second.join().unwrap(), b"two");
        });
    }

    #[test]
    fn one_call_too_many_is_refused() {
        let (operator, _) = operator(b"");
        let places = Vec::from_iter((0..64).map(|_| operator.shared.queue.join(MAX_CALLS)));
        let error = operator.take_turn(LayerHandle::new().server()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(
            error.to_string(),
            "not answered: 64 other clients already have the operator or wait"
        );
        drop(places);
        assert!(
            operator
                .take_turn(LayerHandle::new().server())
                .unwrap()
                .is_some()
        );
    }
}
