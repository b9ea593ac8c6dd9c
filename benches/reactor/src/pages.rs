//! The pages that have the tables.

use std::io;

use measuring::{Page, Report};

use crate::figures::Figure;
use crate::loads::{Load, Sizes};

const COMMAND: &str = "cargo run --release -p reactor-bench -- --write";

const FRONT_PAGE: Page = Page {
    path: "README.md",
    command: COMMAND,
};

const GUIDE: Page = Page {
    path: "docs/guide/reactor.md",
    command: COMMAND,
};

/// The rows of the table on the front page.
const BRIEF: &[(Load, Figure)] = &[
    (Load::Exchange64, Figure::Rate),
    (Load::Exchange1000, Figure::Rate),
    (Load::Exchange1000, Figure::P99),
    (Load::Connect, Figure::Rate),
    (Load::Blocking5000, Figure::P99),
    (Load::Slow, Figure::Threads),
    (Load::Idle, Figure::Kilobytes),
];

/// Replaces the tables in the pages.
pub fn write(report: &Report<Figure>, sizes: &Sizes) -> io::Result<()> {
    let brief = report.brief(|title, figure| {
        let mut rows = BRIEF.iter();
        rows.any(|(load, it)| load.title(sizes) == title && *it == figure)
    });
    FRONT_PAGE.write(&brief)?;
    GUIDE.write(&report.full())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pages_have_a_place_for_the_tables() {
        for page in [FRONT_PAGE, GUIDE] {
            assert!(page.has_place().unwrap(), "{}", page.path);
        }
    }
}
