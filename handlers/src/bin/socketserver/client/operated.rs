//! The client whose commands come from the server.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use socketserver_handlers::shell::{Ending, Limits, run};

use super::datagrams::Datagrams;
use super::failure::Problem;

/// What it says first, so that the server knows where it is; the words do not matter.
const HERE: &[u8] = b"hi";

/// Refuses a server that is not on this machine.
///
/// # Errors
///
/// Why it is refused, and what to do.
pub fn check_server(ip: Option<IpAddr>) -> Result<(), String> {
    match ip {
        Some(ip) if !ip.is_loopback() => Err(format!(
            "{ip} is another machine's address: whoever answers there would run commands here, with all \
             that you may do; give --allow-remote if that is what you want"
        )),
        _ => Ok(()),
    }
}

/// Says where it is, and runs each datagram that comes; the output goes back as one. It ends with
/// `stop`, a connected socket, when that is closed by its other end; so does a command that runs then.
pub fn obey(server: &Datagrams, limits: &Limits, stop: BorrowedFd<'_>) -> Result<(), Problem> {
    server.send(HERE)?;
    while wait(server.as_fd(), stop)? {
        let command = server.receive()?;
        log::info!("running {:?}", String::from_utf8_lossy(&command));
        let output = run(&command, limits, Some(stop));
        if let Some(note) = output.note() {
            log::warn!("{note}");
        }
        if matches!(output.ending, Ending::ClientLeft) {
            break;
        }
        server.send(&output.into_datagram())?;
    }
    Ok(())
}

/// Waits for a datagram, or the word to stop: false.
fn wait(server: BorrowedFd<'_>, stop: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watched = [server, stop].map(|it| PollFd::new(it, PollFlags::POLLIN));
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(!watched[1].any().unwrap_or(true)),
        }
    }
}

/// A socket whose other end is closed by SIGINT or SIGTERM.
pub fn stop_signal() -> io::Result<UnixStream> {
    let (here, there) = UnixStream::pair()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let thread = thread::Builder::new().name("signals".to_owned());
    thread.spawn(move || {
        signals.forever().next();
        drop(there);
    })?;
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_another_machine_is_refused_with_the_reason_and_what_to_do() {
        for ip in ["192.0.2.1", "2001:db8::1", "0.0.0.0"] {
            let message = check_server(Some(ip.parse().unwrap())).unwrap_err();
            assert!(message.contains("would run commands here"), "{message}");
            assert!(message.contains("--allow-remote"), "{message}");
        }
        for ip in ["127.0.0.1", "127.9.9.9", "::1"] {
            assert_eq!(check_server(Some(ip.parse().unwrap())), Ok(()));
        }
        assert_eq!(check_server(None), Ok(()));
    }
}
