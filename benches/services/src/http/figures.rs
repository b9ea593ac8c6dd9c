//! What is measured of a server under a load.

/// One number that a slice of a load has. The order is that of the rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Rate,
    Cpu,
    P50,
    P99,
    P99Without,
    Held,
    Kilobytes,
    Threads,
}

/// The figures of one slice.
pub type Sample = measuring::Sample<Figure>;

impl measuring::Figure for Figure {
    fn title(self) -> &'static str {
        match self {
            Self::Rate => "requests/s",
            Self::Cpu => "CPU µs/request",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
            Self::P99Without => "p99 µs without them",
            Self::Held => "answered at the end",
            Self::Kilobytes => "kB of the process, each",
            Self::Threads => "threads",
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::Cpu | Self::Kilobytes => 2,
            _ => 0,
        }
    }
}
