//! The file service: the command's server, accounts and client.

mod accounts;
mod client;
mod clients;
mod downloads;
mod faults;
mod killed;
mod load;
mod python;
mod site;
mod uploads;
