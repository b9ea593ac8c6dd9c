//! The metrics of the servers. A small server answers requests for them at its own address.

use std::fmt;
#[cfg(feature = "systemd")]
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Args;
use socketserver::{
    Address, BaseServer, Metrics, Serve, ServerHandle, StreamRequest, TcpServer, ThreadPoolMixIn,
    UnixStreamServer,
};

use crate::failure::Failure;
use crate::remote::permit_metrics;
use crate::url::{HostPort, StreamUrl, Url};

/// How many clients may read the metrics at a time. The threads exist from the start, so that the
/// metrics answer even when the system has no further threads.
const WORKERS: usize = 16;

/// How long the last answers have when the program ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The options of the metrics.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of the metrics")]
pub struct MetricsOptions {
    /// Address of "GET /metrics" for Prometheus: tcp://HOST:PORT or unix:///PATH
    ///
    /// Example: --metrics tcp://127.0.0.1:9100. The answer has the numbers of each server and of
    /// the process, in the format OpenMetrics. The metrics are there also while the servers are
    /// full, and until the last request has ended. The address has to be a loopback address or a
    /// Unix socket, unless --metrics-allow-remote is given. Port 0 is any free port, which the line
    /// "metrics at" shows.
    #[arg(long, value_name = "URL", conflicts_with = "inetd")]
    metrics: Option<Url>,

    /// Permit an address of --metrics that other machines can reach
    #[arg(long, requires = "metrics")]
    metrics_allow_remote: bool,
}

/// A server of metrics, which serves in threads of its own from its start until it is dropped.
pub struct MetricsServer {
    pub metrics: Metrics,
    /// Where the metrics are.
    pub line: Vec<u8>,
    server: ServerHandle,
    /// The loop, until it runs.
    serve: Option<Box<dyn FnOnce() + Send>>,
    thread: Option<JoinHandle<()>>,
}

impl MetricsOptions {
    /// Binds the server of the metrics; `None` if the user asks for none. If `handed_over` is the
    /// socket of a predecessor, the server uses that socket.
    ///
    /// # Errors
    ///
    /// If the address is of another kind, is not permitted, or cannot be bound.
    pub fn bind(
        &self,
        #[cfg(feature = "systemd")] handed_over: Option<OwnedFd>,
    ) -> Result<Option<MetricsServer>, Failure> {
        let Some(url) = &self.metrics else {
            return Ok(None);
        };
        let metrics = Metrics::new();
        let server = match url {
            Url::Stream(StreamUrl::Tcp(place)) => {
                // An unknown name is accepted here, since the server reports it.
                for address in place.addresses().unwrap_or_default() {
                    self.permit(&address.into())?;
                }
                #[cfg(feature = "systemd")]
                if let Some(socket) = handed_over {
                    let bottom = TcpServer::from_listener(socket.into(), metrics.clone());
                    return self.serve_on(bottom, metrics, url).map(Some);
                }
                let bottom = TcpServer::new(place.inet_address(), metrics.clone());
                self.serve_on(bottom, metrics, url)
            }
            Url::Stream(StreamUrl::Unix(path)) => {
                #[cfg(feature = "systemd")]
                if let Some(socket) = handed_over {
                    let bottom = UnixStreamServer::from_listener(socket.into(), metrics.clone());
                    return self
                        .serve_on(bottom.remove_file(true), metrics, url)
                        .map(Some);
                }
                let bottom = UnixStreamServer::new(path, metrics.clone());
                self.serve_on(bottom, metrics, url)
            }
            _ => Err(Failure::usage(format!(
                "--metrics is for tcp:// and unix://, and not for {}://",
                url.scheme()
            ))),
        };
        server.map(Some)
    }

    fn permit(&self, address: &Address) -> Result<(), Failure> {
        match self.metrics_allow_remote {
            true => Ok(()),
            false => permit_metrics(address),
        }
    }

    fn serve_on<S>(&self, bottom: S, metrics: Metrics, url: &Url) -> Result<MetricsServer, Failure>
    where
        S: BaseServer<Request = StreamRequest>,
    {
        let server = bottom.mix_in(ThreadPoolMixIn::new).workers(WORKERS);
        let server = server.bind()?;
        // A name may have another address than before, when the URL was checked.
        let address = server.server_address();
        self.permit(&address)?;
        server.set_drain_timeout(Some(DRAIN_TIMEOUT));
        let handle = server.handle();
        let serve = move || {
            // The service goes on without its metrics, whose absence Prometheus reports.
            if let Err(error) = server.serve_forever() {
                log::error!("the server of the metrics has failed, and the others go on: {error}");
            }
            server.server_close();
        };
        let place = match address {
            Address::Inet(address) => {
                format!("http://{}/metrics", HostPort::from(address)).into_bytes()
            }
            _ => url.to_bytes(),
        };
        Ok(MetricsServer {
            metrics,
            line: [b"metrics at ", &*place, b"\n"].concat(),
            server: handle,
            serve: Some(Box::new(serve)),
            thread: None,
        })
    }
}

impl MetricsServer {
    /// Starts to answer.
    ///
    /// # Errors
    ///
    /// If the system has no further thread.
    pub fn start(&mut self) -> Result<(), Failure> {
        if let Some(serve) = self.serve.take() {
            let thread = thread::Builder::new().name("metrics".to_owned());
            self.thread = Some(thread.spawn(serve).map_err(Failure::Thread)?);
        }
        Ok(())
    }

    /// The handle of the server, for a restart.
    #[cfg(feature = "systemd")]
    pub fn handle(&self) -> ServerHandle {
        self.server.clone()
    }
}

impl fmt::Debug for MetricsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = formatter.debug_struct("MetricsServer");
        text.field("server", &self.server).finish_non_exhaustive()
    }
}

impl Drop for MetricsServer {
    fn drop(&mut self) {
        self.server.request_shutdown();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
