//! The mix-ins that a user can choose.

use std::fmt;

use clap::ValueEnum;

/// How requests run beside one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MixIn {
    /// One request after the other
    None,
    /// A thread for each request
    Threading,
    /// A child process for each request
    Forking,
    /// A fixed number of threads for all requests: --workers
    Pool,
    /// A few threads for all connections; an idle connection needs no thread
    Reactor,
}

impl fmt::Display for MixIn {
    /// The name on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Threading => "threading",
            Self::Forking => "forking",
            Self::Pool => "pool",
            Self::Reactor => "reactor",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_in_prints_as_it_is_typed() {
        for mix_in in MixIn::value_variants() {
            assert_eq!(MixIn::from_str(&mix_in.to_string(), false), Ok(*mix_in));
        }
    }
}
