//! The `socketserver` command, run as a user runs it.

mod auth;
mod bounds;
mod exposure;
mod listing;
mod operator;
mod served;
mod serving;
mod shell;
mod shell_limits;
mod signals;
mod usage;
