//! A layer that admits clients by their addresses, and at a rate.

mod network;
mod rate;
mod rules;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use socketserver::layer::RequestOf;
use socketserver::{BaseServer, MixIn, Request};

pub use network::{InvalidNetwork, Network};
pub use rate::{InvalidRate, Rate};
pub use rules::{Rules, RulesError};

/// Which clients are admitted: those that the [`Rules`] allow, and no more of them than the
/// [`Rate`]. A clone is the same admission. Its rules can be [replaced](Self::set_rules) while
/// servers run.
///
/// Clients over Unix sockets have no address, so the rules do not apply to them. Python's
/// counterpart is an override of `verify_request`.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<State>);

#[derive(Debug, Default)]
struct State {
    rules: RwLock<Arc<Rules>>,
    rate: Option<Rate>,
}

impl Admission {
    /// An admission by these rules, and at this rate for each server.
    #[must_use]
    pub fn new(rules: Rules, rate: Option<Rate>) -> Self {
        Self(Arc::new(State {
            rules: RwLock::new(Arc::new(rules)),
            rate,
        }))
    }

    /// Replaces the rules for every client that connects from now on.
    pub fn set_rules(&self, rules: Rules) {
        let mut present = self.0.rules.write().unwrap_or_else(PoisonError::into_inner);
        *present = Arc::new(rules);
    }

    /// The present rules.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        let present = self.0.rules.read().unwrap_or_else(PoisonError::into_inner);
        present.clone()
    }
}

/// Refuses the clients that an [`Admission`] does not admit, before any of their bytes is read.
///
/// The refusal counts as [not verified](socketserver::Refusal::NotVerified), and is in the log.
/// Inside of [`ProxyProtocolMixIn`](socketserver::ProxyProtocolMixIn), the layer checks the address
/// of the client behind the proxy.
///
/// ```
/// use socketserver::{Serve, TcpServer, ThreadingMixIn};
/// use socketserver_handlers::Echo;
/// use socketserver_handlers::admission::{Admission, AdmissionMixIn, Rules};
///
/// let rules = Rules::default().allow("127.0.0.0/8".parse()?).deny("127.0.0.66".parse()?);
/// let admission = Admission::new(rules, None);
/// let server = TcpServer::new("127.0.0.1:0", Echo::default)
///     .mix_in(|bottom| AdmissionMixIn::new(bottom, admission.clone()))
///     .mix_in(ThreadingMixIn::new)
///     .bind()?;
/// // Later, while the server runs:
/// admission.set_rules(Rules::default());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a layer does nothing until `bind` makes a server of the stack"]
pub struct AdmissionMixIn<S> {
    next: S,
    admission: Option<Admission>,
    /// The places that the rate of this server has left.
    bucket: Option<Mutex<rate::Bucket>>,
}

impl<S> AdmissionMixIn<S> {
    /// Puts the layer around `next`.
    pub fn new(next: S, admission: Admission) -> Self {
        Self::optional(next, Some(&admission))
    }

    /// Puts the layer around `next`. With `None` the layer admits everybody, for a program whose
    /// user decides whether there are rules.
    pub fn optional(next: S, admission: Option<&Admission>) -> Self {
        let rate = admission.and_then(|admission| admission.0.rate);
        Self {
            next,
            admission: admission.cloned(),
            bucket: rate.map(|rate| Mutex::new(rate.bucket(Instant::now()))),
        }
    }

    fn is_admitted(&self, request: &impl Request) -> bool {
        let Some(admission) = &self.admission else {
            return true;
        };
        if let Some(ip) = request.client_address().ip()
            && !admission.rules().allows(ip)
        {
            return false;
        }
        // A client that the rules refuse does not count for the rate.
        self.bucket.as_ref().is_none_or(|bucket| {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            bucket.take(Instant::now())
        })
    }
}

impl<S: BaseServer> MixIn for AdmissionMixIn<S> {
    type Next = S;

    fn next(&self) -> &S {
        &self.next
    }

    fn verify_request(&self, request: &mut RequestOf<Self>) -> bool {
        self.is_admitted(request) && self.next.verify_request(request)
    }
}

impl<S> fmt::Debug for AdmissionMixIn<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionMixIn")
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}
