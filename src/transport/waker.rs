//! What a waiting loop wakes up for: a readable socket, or another thread's word.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use crate::transport::poll::poll_until;

/// A pair of connected sockets: a byte written to one ends the wait on the other.
///
/// It stays readable until [`heard`](Wakeup::heard), so a word said just before the wait begins is
/// not lost. `poll` because a loop waits on two descriptors: that is one system call a pass, and no
/// further descriptor. A forked child shares the pair, which is how a handler there can stop the
/// parent's loop.
#[derive(Debug)]
pub(crate) struct Wakeup {
    speaker: UnixStream,
    listener: UnixStream,
    /// This process has said that the loop should look again, and has not been heard: once is enough,
    /// and leaves room for other words.
    unheard: AtomicBool,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Woken {
    /// The socket is readable.
    pub ready: bool,
    /// Somebody spoke.
    pub spoken_to: bool,
    /// The socket has been shut down: what can be got from it now is the last.
    pub shut_down: bool,
}

/// What a half-closed socket of datagrams tells on Linux, if it is asked, besides being readable.
#[cfg(any(target_os = "android", target_os = "linux"))]
const HALF_CLOSED: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);
#[cfg(not(any(target_os = "android", target_os = "linux")))]
const HALF_CLOSED: PollFlags = PollFlags::empty();

/// Says only: look again.
const LOOK_AGAIN: u8 = b'w';
/// Says: stop; from a forked child, whose memory this process does not see.
const STOP: u8 = b's';

impl Wakeup {
    pub(crate) fn new() -> io::Result<Self> {
        let (speaker, listener) = UnixStream::pair()?;
        speaker.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            speaker,
            listener,
            unheard: AtomicBool::new(false),
        })
    }

    /// Ends the wait, or the next one.
    pub(crate) fn look_again(&self) {
        if !self.unheard.swap(true, SeqCst) {
            self.say(LOOK_AGAIN);
        }
    }

    /// Asks the process on the other side of a fork to stop.
    pub(crate) fn stop(&self) {
        self.say(STOP);
    }

    fn say(&self, word: u8) {
        // A full pair has unheard words in it already, which wake the loop just as well.
        let _ = (&self.speaker).write(&[word]);
    }

    /// A further speaker, for a signal handler.
    pub(crate) fn speaker(&self) -> io::Result<OwnedFd> {
        Ok(self.speaker.try_clone()?.into())
    }

    /// Waits until `socket` is readable or shut down, somebody speaks, or the time is over (all
    /// false). Without a socket it waits for a word only.
    pub(crate) fn wait(
        &self,
        socket: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> io::Result<Woken> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let what_ends_it = PollFlags::POLLIN | HALF_CLOSED;
        let mut fds = [
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(socket.unwrap_or(self.listener.as_fd()), what_ends_it),
        ];
        let fds = if socket.is_some() {
            &mut fds[..]
        } else {
            &mut fds[..1]
        };
        poll_until(fds, deadline)?;
        let happened = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
        // `nix` has no name for the half-closed socket's event, and gives none where it is among them.
        let shut_down = |fd: &PollFd<'_>| {
            let events = fd.revents();
            events.is_none_or(|events| events.contains(PollFlags::POLLHUP))
        };
        Ok(Woken {
            spoken_to: happened(&fds[0]),
            ready: fds.get(1).is_some_and(happened),
            shut_down: fds.get(1).is_some_and(shut_down),
        })
    }

    /// Takes in what was said; true if it was, from a forked child, that the loop is to stop.
    pub(crate) fn heard(&self) -> bool {
        let mut stop = false;
        let mut words = [0; 64];
        while let Ok(count @ 1..) = (&self.listener).read(&mut words) {
            stop |= words[..count].contains(&STOP);
            if count < words.len() {
                break;
            }
        }
        // After the words were taken in: were it before, one said in between would be taken in with
        // the others and yet keep all later ones back. Who finds it still set has nothing to fear, since
        // the loop looks again after this.
        self.unheard.store(false, SeqCst);
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_said_before_the_wait_ends_it() {
        let wakeup = Wakeup::new().unwrap();
        wakeup.look_again();
        assert!(wakeup.wait(None, None).unwrap().spoken_to);
    }

    #[test]
    fn after_it_was_heard_a_word_wakes_no_more() {
        let wakeup = Wakeup::new().unwrap();
        wakeup.look_again();
        assert!(!wakeup.heard());
        let woken = wakeup.wait(None, Some(Duration::ZERO)).unwrap();
        assert_eq!(
            woken,
            Woken {
                ready: false,
                spoken_to: false,
                shut_down: false
            }
        );
    }

    #[test]
    fn stop_is_told_apart_from_look_again() {
        let wakeup = Wakeup::new().unwrap();
        wakeup.look_again();
        wakeup.stop();
        wakeup.look_again();
        assert!(wakeup.heard());
        assert!(!wakeup.heard());
    }

    #[test]
    fn however_much_was_said_all_of_it_is_heard_and_nobody_blocks() {
        let wakeup = Wakeup::new().unwrap();
        for _ in 0..1_000_000 {
            wakeup.look_again();
        }
        wakeup.heard();
        assert!(!wakeup.wait(None, Some(Duration::ZERO)).unwrap().spoken_to);
    }

    #[test]
    fn stop_is_heard_however_often_the_loop_was_told_to_look_again() {
        let wakeup = Wakeup::new().unwrap();
        for _ in 0..1_000_000 {
            wakeup.look_again();
        }
        wakeup.stop();
        assert!(wakeup.heard());
    }

    #[test]
    fn a_wait_with_a_timeout_does_not_end_before_it() {
        let wakeup = Wakeup::new().unwrap();
        let begin = Instant::now();
        let timeout = Duration::from_micros(2500);
        assert!(!wakeup.wait(None, Some(timeout)).unwrap().spoken_to);
        assert!(begin.elapsed() >= timeout);
    }
}
