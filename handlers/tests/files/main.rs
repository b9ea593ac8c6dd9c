//! The file service over mock streams: every command, refusal and point at which a client leaves.

#![cfg(feature = "files")]

mod commands;
mod leaving;
mod logins;
mod messages;
mod names;
mod quota;
mod site;
mod transfers;
