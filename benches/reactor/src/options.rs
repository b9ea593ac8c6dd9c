//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

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

    /// Rounds of the loads with short slices; loads with long slices have half as many [default: 9]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: Option<u32>,

    /// The measured time of a slice, in milliseconds [default: 400]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=5000))]
    slice_ms: Option<u64>,

    /// Tiny sizes, to see that everything works: the figures mean nothing
    #[arg(long)]
    quick: bool,

    /// Seed of the orders and of the lines that make handlers wait
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Nice value of the load generator and the servers; less than 0 needs CAP_SYS_NICE
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub nice: Option<i32>,

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
        chosen(&self.load)
    }

    pub fn servers(&self) -> Vec<Server> {
        chosen(&self.server)
    }

    pub fn sizes(&self) -> Sizes {
        let mut sizes = if self.quick {
            Sizes::QUICK
        } else {
            Sizes::FULL
        };
        if let Some(rounds) = self.rounds {
            sizes.rounds = rounds as usize;
        }
        if let Some(milliseconds) = self.slice_ms {
            sizes.slice = Duration::from_millis(milliseconds);
        }
        sizes
    }
}

/// In the order of the table; all of them if none is given.
fn chosen<T: ValueEnum + Copy + PartialEq>(given: &[T]) -> Vec<T> {
    let all = T::value_variants().iter().copied();
    Vec::from_iter(all.filter(|it| given.is_empty() || given.contains(it)))
}

#[cfg(test)]
mod tests {
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
