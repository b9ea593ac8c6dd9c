//! Where a server listens, for whom, and within which bounds.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use socketserver::{Address, BaseServer, InetAddress, Serve, Server};

use super::bounds::Bounds;
use super::reload::Reload;
use crate::failure::{Failure, Problem};
use crate::remote::{Audience, Exposure};
use crate::stop::StopSignals;
use crate::url::{HostPort, Url};
use crate::{standard_error, standard_streams};

#[derive(Debug)]
pub struct Site {
    pub url: Url,
    /// Whether the server listens on every address of the URL's host.
    pub all_addresses: bool,
    pub exposure: Exposure,
    pub audience: Audience,
    pub bounds: Bounds,
    pub signals: StopSignals,
    /// The wish to load files again, if SIGHUP does not stop the server.
    pub reload: Option<Reload>,
}

/// The permissions that the file of a Unix socket does not get where the owner alone may connect or
/// send.
const OTHERS: Mode = Mode::S_IXUSR.union(Mode::S_IRWXG).union(Mode::S_IRWXO);

/// How long an announcement that has begun may take after a signal.
const ANNOUNCING: Duration = Duration::from_millis(500);

/// What ends the wait for the announcement.
enum Event {
    Announced(io::Result<()>),
    Signal(i32),
}

impl Site {
    /// Serves until a signal arrives and the running requests have ended.
    pub fn serve<S: BaseServer>(self, stack: S) -> Result<(), Failure> {
        let server = self.bind(stack)?;
        self.bounds.apply(&server);
        // A name may have another address than before, when the options were checked.
        for address in server.server_addresses() {
            self.exposure.permit(&address)?;
        }
        let handle = server.handle();
        let (events, event) = mpsc::channel();
        let signalled = events.clone();
        let stop = move |signal| {
            // An error is ignored: the server has been announced.
            let _ = signalled.send(Event::Signal(signal));
            handle.request_shutdown();
            // `shutdown` waits, and aborts the requests that run at the drain timeout: a server
            // without a mix-in has no other thread for that. If the thread cannot be started, the
            // user still has the second signal.
            let _ = thread::Builder::new().spawn(move || handle.shutdown());
        };
        if let Some(reload) = self.reload {
            let handle = server.handle();
            self.signals.on_hangup(move || reload.request(&handle));
        }
        self.signals.on_first(stop);
        // In a thread: a standard output that nobody reads does not hold the program at a signal.
        let announcement = announcement(&self.url, server.server_addresses());
        let announcing = thread::Builder::new().name("announcement".to_owned());
        let announcing = announcing
            .spawn(move || events.send(Event::Announced(standard_streams::print(announcement))));
        let announcing = announcing.map_err(Failure::Thread)?;
        let announced = match event.recv() {
            // Who has read the line may send the signal before the thread has sent its event.
            Ok(Event::Signal(signal)) => match event.recv_timeout(ANNOUNCING) {
                Ok(Event::Announced(announced)) => announced,
                _ => {
                    server.server_close();
                    return Err(Failure::Interrupted(signal));
                }
            },
            Ok(Event::Announced(announced)) => announced,
            Err(mpsc::RecvError) => Ok(()),
        };
        announced.map_err(|error| Failure::Here(Problem::Output(error)))?;
        // Ended before the first fork: a child has no lock of another thread.
        let _ = announcing.join();
        let served = server.serve_forever();
        if served.is_ok() {
            log::info!("stopping; a second signal does not wait for running requests");
        }
        let report = server.server_close();
        standard_error::print_line(format!("stopped; requests: {report}"));
        Ok(served?)
    }

    /// Binds the server. Over a Unix socket whose clients have to be the same user, the owner alone
    /// may write the file: of a datagram's sender, the operating system knows no more.
    fn bind<S: BaseServer>(&self, stack: S) -> Result<Server<S>, Failure> {
        if self.audience == Audience::Everybody || self.url.host_port().is_some() {
            return Ok(stack.bind()?);
        }
        // No other thread makes a file now.
        let mask = umask(OTHERS);
        let bound = stack.bind();
        umask(mask);
        Ok(bound?)
    }

    /// The addresses to listen on.
    pub fn inet_address(&self, place: &HostPort) -> InetAddress {
        match self.all_addresses {
            true => InetAddress::all(place.inet_address()),
            false => place.inet_address(),
        }
    }
}

/// A line `listening on URL` for each address, with the port that the system has chosen for port 0.
/// A path has the bytes that were typed, so that the line can be typed again.
fn announcement(url: &Url, addresses: Vec<Address>) -> Vec<u8> {
    let line = |address| {
        let url = match address {
            Address::Inet(address) => {
                format!("{}://{}", url.scheme(), HostPort::from(address)).into_bytes()
            }
            _ => url.to_bytes(),
        };
        [b"listening on ", &*url, b"\n"].concat()
    };
    addresses.into_iter().flat_map(line).collect()
}
