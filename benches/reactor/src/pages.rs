//! The tables in the pages: each between two comments, of which the first has the command.

use std::fs;
use std::io;
use std::path::Path;

use crate::report::Report;

const BEGIN: &str = "<!-- made by: cargo run --release -p reactor-bench -- --write -->\n";
const END: &str = "<!-- end of what is made -->";

const FRONT_PAGE: &str = "README.md";
const GUIDE: &str = "docs/guide/reactor.md";

/// Replaces the tables in the pages.
pub fn write(report: &Report) -> io::Result<()> {
    for (page, tables) in [(FRONT_PAGE, report.brief()), (GUIDE, report.full())] {
        let path = root().join(page);
        let text = replaced(&fs::read_to_string(&path)?, &tables);
        let missing = || io::Error::other(format!("{page} has no place for the tables: {BEGIN}"));
        fs::write(path, text.ok_or_else(missing)?)?;
    }
    Ok(())
}

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn replaced(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{tables}\n\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_between_the_comments_is_replaced_and_nothing_else() {
        let page = format!("before\n{BEGIN}old\n{END}\nafter\n");
        let replaced_once = replaced(&page, "new").unwrap();
        assert_eq!(
            replaced_once,
            format!("before\n{BEGIN}\nnew\n\n{END}\nafter\n")
        );
        assert_eq!(replaced(&replaced_once, "new").unwrap(), replaced_once);
    }

    #[test]
    fn a_page_without_the_comments_is_left_alone() {
        assert_eq!(replaced("text", "new"), None);
        assert_eq!(replaced(BEGIN, "new"), None);
    }

    #[test]
    fn both_pages_have_a_place_for_the_tables() {
        for page in [FRONT_PAGE, GUIDE] {
            let text = fs::read_to_string(root().join(page)).unwrap();
            assert!(replaced(&text, "new").is_some(), "{page}");
        }
    }
}
