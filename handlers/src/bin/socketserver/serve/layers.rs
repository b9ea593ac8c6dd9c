//! The layers around each bottom layer, by the user's options.

#[cfg(all(feature = "metrics", feature = "tls"))]
use socketserver::TlsConfig;
#[cfg(feature = "tls")]
use socketserver::TlsMixIn;
use socketserver::{
    Address, AnyMixIn, BaseServer, DatagramRequest, Serve, StreamRequest, TraceMixIn, Tracer,
};
use socketserver_handlers::LoopLimit;
use socketserver_handlers::admission::{Admission, AdmissionMixIn};

use super::concurrency::Concurrency;
use super::options::Options;
#[cfg(feature = "proxy-protocol")]
use super::proxy_protocol::Proxies;
#[cfg(feature = "tls")]
use super::tls::Encryption;
use crate::failure::Failure;
use crate::remote::Exposure;
use crate::url::Url;
use crate::watched::Watched;

/// A value that makes servers of stacks for requests of type `R`.
pub trait Host<R> {
    /// Makes the metrics show when the certificates of the next server that joins expire.
    #[cfg(all(feature = "metrics", feature = "tls"))]
    fn show_certificates(&mut self, config: &TlsConfig) {
        let _ = config;
    }

    /// Binds a server at `url`, and returns its addresses.
    fn join<S: BaseServer<Request = R>>(
        &mut self,
        stack: S,
        url: &Url,
    ) -> Result<Vec<Address>, Failure>;
}

/// The layers around the bottom layer of every server of the program.
pub struct Layers {
    #[cfg(feature = "proxy-protocol")]
    proxies: Option<Proxies>,
    #[cfg(feature = "tls")]
    encryption: Option<Encryption>,
    admission: Option<Admission>,
    /// The files that are loaded again.
    files: Vec<Watched>,
    concurrency: Concurrency,
    /// Where the calls of the layers are shown.
    tracer: Option<Tracer>,
}

impl Layers {
    /// The layers that these options ask for.
    ///
    /// # Errors
    ///
    /// If the options contradict one another, the handler or the URLs, or a file is broken.
    #[cfg_attr(
        not(feature = "proxy-protocol"),
        expect(unused_variables, reason = "the exposure matters behind a proxy")
    )]
    pub fn new(options: &Options, urls: &[Url], exposure: Exposure) -> Result<Self, Failure> {
        let concurrency = Concurrency::new(options)?;
        let common = &options.common;
        #[cfg(feature = "proxy-protocol")]
        let proxies = common.proxy.over(urls, exposure)?;
        let mut files = Vec::new();
        #[cfg(feature = "tls")]
        let encryption = common.tls.load(urls)?;
        #[cfg(feature = "tls")]
        files.extend(encryption.as_ref().map(Encryption::watched));
        let admission = common.admission.over(urls)?;
        let rules = admission.as_ref();
        files.extend(rules.and_then(|it| common.admission.watched(it)));
        files.extend((options.handler.watched)(&options.own)?);
        Ok(Self {
            concurrency,
            tracer: options.tracer.clone(),
            #[cfg(feature = "proxy-protocol")]
            proxies,
            #[cfg(feature = "tls")]
            encryption,
            admission,
            files,
        })
    }

    /// The same layers without a mix-in.
    pub fn one_at_a_time(self) -> Self {
        Self {
            concurrency: Concurrency::None,
            ..self
        }
    }

    /// Whether what clients send to this URL is encrypted.
    #[cfg(feature = "tls")]
    pub fn encrypt(&self, url: &Url) -> bool {
        let encryption = self.encryption.as_ref();
        encryption.is_some_and(|it| it.at(url).is_some())
    }

    /// The files that are loaded again.
    pub fn files(&self) -> &[Watched] {
        &self.files
    }

    /// Whether each request is served in a child process.
    pub fn fork(&self) -> bool {
        matches!(self.concurrency, Concurrency::Forking(_))
    }

    /// Puts the layers around a bottom layer of connections, binds the server, and has it join the
    /// host. Returns its addresses.
    pub fn over_stream<S>(
        &self,
        bottom: S,
        url: &Url,
        host: &mut impl Host<StreamRequest>,
    ) -> Result<Vec<Address>, Failure>
    where
        S: BaseServer<Request = StreamRequest>,
    {
        let bottom = self.traced(bottom);
        #[cfg(feature = "tls")]
        if let Some(config) = self.encryption.as_ref().and_then(|it| it.at(url)) {
            #[cfg(feature = "metrics")]
            host.show_certificates(config);
            let encrypted = TlsMixIn::new(bottom, config.clone());
            return self.behind_proxies(self.traced(encrypted), url, host);
        }
        self.behind_proxies(bottom, url, host)
    }

    /// As [`over_stream`](Self::over_stream), around a bottom layer of datagrams.
    pub fn over_datagrams<S>(
        &self,
        bottom: S,
        url: &Url,
        host: &mut impl Host<DatagramRequest>,
    ) -> Result<Vec<Address>, Failure>
    where
        S: BaseServer<Request = DatagramRequest>,
    {
        let bottom = self.traced(bottom).mix_in(LoopLimit::new);
        host.join(self.concurrent(self.admitted(bottom)), url)
    }

    /// A proxy's header comes before the encryption, and before the decision about its client.
    fn behind_proxies<S>(
        &self,
        inner: S,
        url: &Url,
        host: &mut impl Host<StreamRequest>,
    ) -> Result<Vec<Address>, Failure>
    where
        S: BaseServer<Request = StreamRequest>,
    {
        let inner = self.admitted(inner);
        #[cfg(feature = "proxy-protocol")]
        if let Some(proxies) = &self.proxies {
            let inner = self.traced(proxies.clone().before(inner));
            return host.join(self.concurrent(inner), url);
        }
        host.join(self.concurrent(inner), url)
    }

    /// Shows the calls of the layer, if the user asks for that.
    fn traced<S: BaseServer>(&self, layer: S) -> TraceMixIn<S> {
        TraceMixIn::optional(layer, self.tracer.as_ref())
    }

    /// Refuses the clients that the user does not admit.
    fn admitted<S: BaseServer>(&self, inner: S) -> AdmissionMixIn<S> {
        AdmissionMixIn::optional(inner, self.admission.as_ref())
    }

    /// Puts the mix-in around the inner layers.
    fn concurrent<S: BaseServer>(&self, inner: S) -> TraceMixIn<AnyMixIn<S>> {
        let name = self.concurrency.type_name();
        let tracer = self.tracer.as_ref().filter(|_| name.is_some());
        let stack = self.concurrency.around(inner);
        TraceMixIn::optional(stack, tracer).name(name.unwrap_or_default())
    }
}
