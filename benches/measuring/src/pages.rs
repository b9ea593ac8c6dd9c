//! The tables in the pages of the book: each between two comments, of which the first has the
//! command.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const END: &str = "<!-- end of what is made -->";

/// A page with a place for tables.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// From the root of the repository.
    pub path: &'static str,
    /// The command that makes the tables, which is in the comment before them.
    pub command: &'static str,
}

impl Page {
    /// Replaces the tables.
    ///
    /// # Errors
    ///
    /// If the page cannot be read or written, or has no place for the tables.
    pub fn write(self, tables: &str) -> io::Result<()> {
        let text = self.replaced(&fs::read_to_string(self.file())?, tables);
        let missing = || io::Error::other(format!("{} has no {}", self.path, self.begin()));
        fs::write(self.file(), text.ok_or_else(missing)?)
    }

    /// Whether the page has a place for the tables.
    ///
    /// # Errors
    ///
    /// If the page cannot be read.
    pub fn has_place(self) -> io::Result<bool> {
        Ok(self
            .replaced(&fs::read_to_string(self.file())?, "")
            .is_some())
    }

    fn file(self) -> PathBuf {
        let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        root.join(self.path)
    }

    fn begin(self) -> String {
        format!("<!-- made by: {} -->\n", self.command)
    }

    fn replaced(self, page: &str, tables: &str) -> Option<String> {
        let begin = self.begin();
        let (before, rest) = page.split_once(&begin)?;
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{begin}\n{tables}\n\n{END}{after}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: Page = Page {
        path: "README.md",
        command: "make tables",
    };

    #[test]
    fn what_is_between_the_comments_is_replaced_and_nothing_else() {
        let begin = "<!-- made by: make tables -->\n";
        let page = format!("before\n{begin}old\n{END}\nafter\n");
        let replaced_once = PAGE.replaced(&page, "new").unwrap();
        assert_eq!(
            replaced_once,
            format!("before\n{begin}\nnew\n\n{END}\nafter\n")
        );
        assert_eq!(PAGE.replaced(&replaced_once, "new").unwrap(), replaced_once);
    }

    #[test]
    fn a_page_without_the_comments_is_left_alone() {
        let begin = "<!-- made by: make tables -->\n";
        assert_eq!(PAGE.replaced("text", "new"), None);
        assert_eq!(PAGE.replaced(begin, "new"), None);
    }
}
