//! How a program has ended, and the line about it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;

/// How a program has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// `None` if the system has lost it.
    pub status: Option<ExitStatus>,
    pub lasted: Duration,
    /// Why the program was ended; `None` if it has ended by itself.
    pub reason: Option<Reason>,
}

/// Why a program was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The server has stopped, and its drain timeout was over.
    Aborted,
    /// The lifetime of the request was over.
    Lifetime(Duration),
    /// The client was idle for too long, or read too slowly.
    ClientLate,
    ClientLeft,
    /// The reply was too long for a datagram.
    ReplyTooLong,
}

impl Ended {
    /// Logs the line at the end of a program. `bytes` are those from the client and to the client,
    /// if they were counted.
    pub(super) fn log(&self, about: &str, bytes: Option<[u64; 2]>) {
        let Self {
            status,
            lasted,
            reason,
        } = self;
        let line = Line(*status, *lasted, *reason, bytes);
        log::info!("{about} {line}");
    }
}

/// The line behind the client and the program.
struct Line(
    Option<ExitStatus>,
    Duration,
    Option<Reason>,
    Option<[u64; 2]>,
);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(status, lasted, reason, bytes) = self;
        let by = status.as_ref().map(|it| (it.code(), it.signal()));
        match by {
            Some((Some(code), _)) => write!(f, "ended: status {code}")?,
            Some((None, Some(signal))) => match Signal::try_from(signal) {
                Ok(signal) => write!(f, "ended: signal {signal}")?,
                Err(_) => write!(f, "ended: signal {signal}")?,
            },
            Some((None, None)) | None => f.write_str("ended: status unknown")?,
        }
        write!(f, ", after {:.3} s", lasted.as_secs_f64())?;
        if let Some([from_client, to_client]) = bytes {
            write!(f, ", {from_client} bytes received, {to_client} sent")?;
        }
        match reason {
            None => Ok(()),
            Some(Reason::Aborted) => f.write_str("; ended at the drain timeout"),
            Some(Reason::Lifetime(limit)) => write!(f, "; ended at its lifetime of {limit:?}"),
            Some(Reason::ClientLate) => f.write_str("; ended because its client was idle"),
            Some(Reason::ClientLeft) => f.write_str("; ended because its client left"),
            Some(Reason::ReplyTooLong) => f.write_str("; ended because its reply was too long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_status_or_the_signal_the_duration_the_bytes_and_the_reason() {
        let lasted = Duration::from_millis(1500);
        let line = |status, reason, bytes| Line(status, lasted, reason, bytes).to_string();
        let exited = Some(ExitStatus::from_raw(3 << 8));
        assert_eq!(line(exited, None, None), "ended: status 3, after 1.500 s");
        let killed = Some(ExitStatus::from_raw(9));
        let expected = "ended: signal SIGKILL, after 1.500 s, 5 bytes received, 7 sent; ended at \
                        the drain timeout";
        let reason = Some(Reason::Aborted);
        assert_eq!(line(killed, reason, Some([5, 7])), expected);
        let expected = "ended: status unknown, after 1.500 s; ended at its lifetime of 2s";
        let reason = Some(Reason::Lifetime(Duration::from_secs(2)));
        assert_eq!(line(None, reason, None), expected);
    }
}
