//! The `socketserver` command, run as a user runs it.

mod listing;
mod served;
mod serving;
mod signals;
mod usage;
