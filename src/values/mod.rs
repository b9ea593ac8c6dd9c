//! The values of the whole framework: addresses, errors, settings, events and reports.

pub(crate) mod address;
pub(crate) mod backlog;
pub(crate) mod cause;
pub(crate) mod deadlines;
pub(crate) mod drain_report;
pub(crate) mod error;
pub(crate) mod inet_address;
pub(crate) mod limits;
pub(crate) mod lingering;
pub(crate) mod request_event;
pub(crate) mod statistics;
