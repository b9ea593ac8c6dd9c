//! The command line.

use clap::Parser;
use measuring::{MeasuringOptions, SliceOptions};

use crate::loads::{Load, Sizes};
use crate::servers::Server;

/// Measures ReactorMixIn beside bare epoll, threads, tokio and Go, and prints a Markdown table.
///
/// All servers of a load live at once, and have a slice of the load in turn, in an order that is
/// shuffled for every round.
#[derive(Debug, Parser)]
#[command(name = "reactor-bench")]
pub struct Options {
    /// The loads to measure; all of them unless given
    #[arg(long, value_name = "NAME", num_args = 1.., value_enum)]
    load: Vec<Load>,

    /// The servers to measure; all of them unless given
    #[arg(long, value_name = "NAME", num_args = 1.., value_enum)]
    server: Vec<Server>,

    #[command(flatten)]
    pub measuring: MeasuringOptions,

    #[command(flatten)]
    slices: SliceOptions,

    /// Worker threads of tokio's runtime
    #[arg(long, value_name = "N", default_value_t = 2)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub tokio_workers: usize,

    /// Put the tables into README.md and docs/guide/reactor.md too
    #[arg(long, conflicts_with_all = ["load", "server", "quick"])]
    pub write: bool,
}

impl Options {
    pub fn loads(&self) -> Vec<Load> {
        MeasuringOptions::chosen(&self.load)
    }

    pub fn servers(&self) -> Vec<Server> {
        MeasuringOptions::chosen(&self.server)
    }

    pub fn sizes(&self) -> Sizes {
        let sizes = if self.measuring.quick {
            Sizes::QUICK
        } else {
            Sizes::FULL
        };
        Sizes {
            rounds: self.measuring.rounds(sizes.rounds),
            slice: self.slices.slice(sizes.slice),
            ..sizes
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn parse(arguments: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(arguments.split(' '))
    }

    #[test]
    fn loads_are_measured_in_the_order_of_the_table() {
        let options = parse("x --load rest connect --server reactor").unwrap();
        assert_eq!(options.loads(), [Load::Connect, Load::Rest]);
        assert_eq!(options.servers(), [Server::Reactor]);
    }

    #[test]
    fn sizes_are_bounded() {
        assert!(parse("x --rounds 0").is_err());
        assert!(parse("x --rounds 100").is_err());
        assert!(parse("x --slice-ms 9").is_err());
        assert!(parse("x --nice -21").is_err());
        assert!(parse("x --tokio-workers 0").is_err());
        let sizes = parse("x --rounds 3 --slice-ms 20").unwrap().sizes();
        assert_eq!((sizes.rounds, sizes.slice), (3, Duration::from_millis(20)));
    }

    #[test]
    fn a_part_of_the_figures_is_not_written_into_the_pages() {
        for part in ["--quick", "--load rest", "--server reactor"] {
            assert!(parse(&format!("x --write {part}")).is_err(), "{part}");
        }
    }
}
