//! What the benchmarks in packages of their own share: servers in processes of their own, which
//! live at once and take turns under a load, and the tables of what that has shown.
//!
//! `benches/README.md` has how the tables are read.

mod command;
mod figures;
mod go;
mod goals;
mod machine;
mod measurement;
mod options;
mod pace;
mod pages;
mod peer;
mod poller;
mod process;
mod report;
mod served;

pub use command::{build_socketserver, socketserver_command};
pub use figures::{Figure, Quartiles, Sample, grouped, microseconds, percentile};
pub use go::build as build_go;
pub use goals::{Against, Bound, Goal};
pub use machine::{Circumstances, fitting_connections};
pub use measurement::{Measurement, Rounds, measure};
pub use options::{MeasuringOptions, SliceOptions};
pub use pace::{Outcome, Pace, PacedClients};
pub use pages::Page;
pub use peer::{free_port, has_program, is_measured, peer_command};
pub use poller::Poller;
pub use process::ServerProcess;
pub use report::{Report, exit_code};
pub use served::{announce, end_at_once};
