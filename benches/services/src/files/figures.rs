//! What is measured of a server.

/// One number that a transfer has. The order is that of the rows in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    Rate,
    Files,
    Kilobytes,
}

/// The figures of one transfer.
pub type Sample = measuring::Sample<Figure>;

impl measuring::Figure for Figure {
    fn title(self) -> &'static str {
        match self {
            Self::Rate => "MiB/s",
            Self::Files => "files/s",
            Self::Kilobytes => "kB of the server, each",
        }
    }

    fn decimals(self) -> usize {
        0
    }
}
