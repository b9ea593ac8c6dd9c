//! How the requests of a server run beside one another.

use socketserver::{
    AnyMixIn, BaseServer, ForkingMixIn, ReactorMixIn, ThreadPoolMixIn, ThreadingMixIn,
};

use super::options::Options;
use crate::failure::Failure;
use crate::mix_in::MixIn;
use crate::registry::Entry;

/// A mix-in with its options.
#[derive(Debug, Clone, Copy)]
pub enum Concurrency {
    None,
    Threading,
    Forking(Option<u16>),
    Pool(Option<u16>),
    Reactor,
}

impl Concurrency {
    /// The mix-in that the user asks for, or the handler's default.
    ///
    /// # Errors
    ///
    /// If the handler does not allow the mix-in, or the mix-in has no workers.
    pub fn new(options: &Options) -> Result<Self, Failure> {
        let entry = options.handler;
        let mixin = options.common.mixin.unwrap_or(entry.mixins[0]);
        if !entry.mixins.contains(&mixin) {
            return Err(Failure::usage(does_not_mix(entry, mixin)));
        }
        match (mixin, options.common.workers) {
            (MixIn::None, None) => Ok(Self::None),
            (MixIn::Threading, None) => Ok(Self::Threading),
            (MixIn::Forking, workers) => Ok(Self::Forking(workers)),
            (MixIn::Pool, workers) => Ok(Self::Pool(workers)),
            (MixIn::Reactor, None) => Ok(Self::Reactor),
            (MixIn::None | MixIn::Threading | MixIn::Reactor, Some(_)) => Err(Failure::usage(
                "--workers is only for --mixin pool and --mixin forking; give one of the two",
            )),
        }
    }

    /// The name of the mix-in's type; `None` without a mix-in.
    pub fn type_name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Threading => Some("ThreadingMixIn"),
            Self::Forking(_) => Some("ForkingMixIn"),
            Self::Pool(_) => Some("ThreadPoolMixIn"),
            Self::Reactor => Some("ReactorMixIn"),
        }
    }

    /// Puts the mix-in around the inner layers.
    pub fn around<S: BaseServer>(self, bottom: S) -> AnyMixIn<S> {
        match self {
            Self::None => AnyMixIn::None(bottom),
            Self::Threading => AnyMixIn::Threading(ThreadingMixIn::new(bottom)),
            Self::Forking(children) => {
                let layer = ForkingMixIn::new(bottom);
                AnyMixIn::Forking(match children {
                    Some(children) => layer.max_children(children.into()),
                    None => layer,
                })
            }
            Self::Reactor => AnyMixIn::Reactor(ReactorMixIn::new(bottom)),
            Self::Pool(workers) => {
                let layer = ThreadPoolMixIn::new(bottom);
                AnyMixIn::ThreadPool(match workers {
                    Some(workers) => layer.workers(workers.into()),
                    None => layer,
                })
            }
        }
    }
}

fn does_not_mix(entry: &Entry, mixin: MixIn) -> String {
    let possible = Vec::from_iter(entry.mixins.iter().map(MixIn::to_string)).join(", ");
    let name = entry.name;
    format!("{name} cannot be served with --mixin {mixin}; choose one of: {possible}")
}
