//! Where a server listens, for whom, and within which bounds.

use std::io::{self, Write};
use std::thread;

use socketserver::{Address, BaseServer, InetAddress, Serve, Server};

use super::bounds::Bounds;
use crate::failure::{Failure, Problem};
use crate::remote::Exposure;
use crate::stop::StopSignals;
use crate::url::{HostPort, Url};

#[derive(Debug)]
pub struct Site {
    pub url: Url,
    /// Whether the server listens on every address of the URL's host.
    pub all_addresses: bool,
    pub exposure: Exposure,
    pub bounds: Bounds,
}

impl Site {
    /// Serves until a signal arrives and the running requests have ended.
    pub fn serve<S: BaseServer>(&self, stack: S) -> Result<(), Failure> {
        let signals = StopSignals::catch().map_err(Failure::Signals)?;
        let server = stack.bind()?;
        self.bounds.apply(&server);
        // A name may have another address than before, when the options were checked.
        for address in server.server_addresses() {
            self.exposure.permit(&address)?;
        }
        let handle = server.handle();
        let stop = move || {
            handle.request_shutdown();
            // `shutdown` waits, and aborts the requests that run at the drain timeout: a server
            // without a mix-in has no other thread for that. If the thread cannot be started, the
            // user still has the second signal.
            let _ = thread::Builder::new().spawn(move || handle.shutdown());
        };
        signals.on_first(stop).map_err(Failure::Signals)?;
        let announced = self.announce(&server);
        announced.map_err(|error| Failure::Here(Problem::Output(error)))?;
        let served = server.serve_forever();
        if served.is_ok() {
            log::info!("stopping; a second signal does not wait for running requests");
        }
        let report = server.server_close();
        // Printed at every log level. An error is ignored: standard error is closed.
        let _ = writeln!(io::stderr(), "stopped; requests: {report}");
        Ok(served?)
    }

    /// The addresses to listen on.
    pub fn inet_address(&self, place: &HostPort) -> InetAddress {
        match self.all_addresses {
            true => InetAddress::all(place.inet_address()),
            false => place.inet_address(),
        }
    }

    /// Prints a line `listening on URL` for each address, with the port that the system has chosen
    /// for port 0. Clients can connect from now on.
    fn announce<S: BaseServer>(&self, server: &Server<S>) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for address in server.server_addresses() {
            let scheme = self.url.scheme();
            match address {
                Address::Inet(address) => {
                    writeln!(
                        stdout,
                        "listening on {scheme}://{}",
                        HostPort::from(address)
                    )?;
                }
                _ => writeln!(stdout, "listening on {}", self.url)?,
            }
        }
        stdout.flush()
    }
}
