//! The command line.

use clap::Parser;
use measuring::{MeasuringOptions, SliceOptions};

use crate::loads::{Load, Sizes};
use crate::servers::Server;

/// Measures HTTP beside hyper, Go's net/http, tiny_http, nginx and Python's http.server, and prints
/// a Markdown table.
///
/// All servers of a load live at once, and have a slice of the load in turn, in an order that is
/// shuffled for every round.
#[derive(Debug, Parser)]
#[command(name = "http-bench")]
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

    /// Put the tables into docs/guide/http.md too
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
        let sizes = match self.measuring.quick {
            true => Sizes::QUICK,
            false => Sizes::FULL,
        };
        Sizes {
            rounds: self.measuring.rounds(sizes.rounds),
            slice: self.slices.slice(sizes.slice),
            ..sizes
        }
    }
}
