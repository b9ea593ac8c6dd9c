//! What is measured of a server under a load.

/// One number that a slice of a load has. The order is that of the rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Rate,
    Cpu,
    P50,
    P99,
    P99Without,
    GreedyRate,
    Evenness,
    Held,
    Kilobytes,
    DrainTime,
    Answered,
    Threads,
    Switches,
    IdleCpu,
}

/// The figures of one slice.
pub type Sample = measuring::Sample<Figure>;

impl measuring::Figure for Figure {
    fn title(self) -> &'static str {
        match self {
            Self::Rate => "exchanges/s",
            Self::Cpu => "CPU µs/exchange",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P99Without => "p99 µs without them",
            Self::GreedyRate => "thousand greedy lines/s",
            Self::Evenness => "least/most served greedy client",
            Self::Held => "answered at the end",
            Self::Kilobytes => "kB of the process, each",
            Self::DrainTime => "ms until the last idle one is closed",
            Self::Answered => "of the two busy ones, answered",
            Self::Threads => "threads",
            Self::Switches => "context switches",
            Self::IdleCpu => "CPU µs",
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::Cpu | Self::Kilobytes | Self::Evenness => 2,
            Self::DrainTime => 1,
            _ => 0,
        }
    }
}
