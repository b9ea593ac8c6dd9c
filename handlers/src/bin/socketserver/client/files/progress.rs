//! How far a transfer is: [`Progress`].

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::words::quoted;
use crate::standard_error::print_line;

/// How progress is shown on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A bar for each transfer, in a terminal.
    Bar,
    /// A line after each transfer.
    Lines,
    /// Nothing.
    Quiet,
}

/// The progress of one transfer.
#[derive(Debug)]
pub struct Shown {
    progress: Progress,
    name: String,
    bar: ProgressBar,
    size: u64,
}

impl Progress {
    /// A bar if standard error is a terminal, lines if it is not, and nothing for who wants it so.
    pub fn chosen(is_quiet: bool) -> Self {
        match (is_quiet, stderr().is_terminal()) {
            (true, _) => Self::Quiet,
            (false, true) => Self::Bar,
            (false, false) => Self::Lines,
        }
    }

    /// Begins a transfer of `size` bytes.
    pub fn begin(self, name: &[u8], size: u64) -> Shown {
        let name = quoted(name);
        let target = match self {
            Self::Bar => ProgressDrawTarget::stderr(),
            Self::Lines | Self::Quiet => ProgressDrawTarget::hidden(),
        };
        let template = "{msg} {bar:20} {bytes}/{total_bytes} {binary_bytes_per_sec} {eta} left";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(size), target)
            .with_style(style)
            .with_message(name.clone());
        Shown {
            progress: self,
            name,
            bar,
            size,
        }
    }
}

impl Shown {
    /// Bytes that are there from before: they have no share in the rate.
    pub fn resume_at(&self, offset: u64) {
        self.bar.set_position(offset);
        self.bar.reset_eta();
        self.bar.reset_elapsed();
        if offset > 0 && self.progress == Progress::Lines {
            let Self { name, size, .. } = self;
            print_line(format!("{name}: goes on at {offset} of {size} bytes"));
        }
    }

    /// Bytes that have been sent or received.
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    /// The transfer is complete.
    pub fn end(self, elapsed: Duration) {
        self.bar.finish_and_clear();
        let Self { name, size, .. } = self;
        if self.progress != Progress::Quiet {
            print_line(format!(
                "{name}: {size} bytes in {:.1} s",
                elapsed.as_secs_f64()
            ));
        }
    }
}
