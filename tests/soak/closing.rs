//! What a server has to say when it is closed, and whether it adds up.

use socketserver::{DrainReport, Statistics};

/// The numbers of one server, or of several together: its statistics and the report of its drain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closing {
    pub accepted: u64,
    pub refused: u64,
    pub active: u64,
    pub finished: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub panicked: u64,
    pub cut: u64,
    pub sent: u64,
    /// Of the drain.
    pub idle: u64,
    pub ended: u64,
    pub cut_at_close: u64,
    pub running: u64,
}

impl Closing {
    pub fn of(statistics: &Statistics, report: &DrainReport) -> Self {
        Self {
            accepted: statistics.accepted,
            refused: statistics.refused,
            active: statistics.active,
            finished: statistics.finished,
            failed: statistics.failed,
            timed_out: statistics.timed_out,
            panicked: statistics.panicked,
            cut: statistics.aborted,
            sent: statistics.sent,
            idle: report.idle as u64,
            ended: report.ended as u64,
            cut_at_close: report.aborted as u64,
            running: report.running as u64,
        }
    }

    /// Whether it adds up, for a server that was waited for when it was closed.
    pub fn adds_up(&self) -> bool {
        let of_all = [
            self.refused,
            self.finished,
            self.failed,
            self.timed_out,
            self.panicked,
            self.cut,
        ];
        let ended: u64 = of_all.iter().sum();
        let accounted_for = self.accepted == ended && self.active == 0 && self.running == 0;
        let drained = self.idle + self.ended + self.cut_at_close;
        let drain_accounted_for = self.cut_at_close <= self.cut && drained <= self.accepted;
        accounted_for && drain_accounted_for
    }

    pub fn add(&mut self, other: &Self) {
        let sum = self.numbers().into_iter().zip(other.numbers());
        let mut sum = sum.map(|(one, other)| one + other);
        *self = Self::from_numbers(|| sum.next()).unwrap_or_default();
    }

    /// The numbers in one line, which [`from_line`](Self::from_line) reads.
    pub fn to_line(self) -> String {
        self.numbers().map(|number| number.to_string()).join(" ")
    }

    pub fn from_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        Self::from_numbers(|| numbers.next()?.ok())
    }

    fn numbers(&self) -> [u64; 13] {
        [
            self.accepted,
            self.refused,
            self.active,
            self.finished,
            self.failed,
            self.timed_out,
            self.panicked,
            self.cut,
            self.sent,
            self.idle,
            self.ended,
            self.cut_at_close,
            self.running,
        ]
    }

    fn from_numbers(mut next: impl FnMut() -> Option<u64>) -> Option<Self> {
        Some(Self {
            accepted: next()?,
            refused: next()?,
            active: next()?,
            finished: next()?,
            failed: next()?,
            timed_out: next()?,
            panicked: next()?,
            cut: next()?,
            sent: next()?,
            idle: next()?,
            ended: next()?,
            cut_at_close: next()?,
            running: next()?,
        })
    }
}
