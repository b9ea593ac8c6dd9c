//! The pages of the book, as Markdown.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// What stands on one page, each with its line.
#[derive(Debug, Default)]
pub struct Page {
    pub code_spans: Vec<(usize, String)>,
    /// Its text, without code.
    pub prose: Vec<(usize, String)>,
    pub diagrams: Vec<(usize, String)>,
    /// Its programs in Rust, which are compiled, and in Python.
    pub programs: Vec<String>,
    /// Where its links and images point to.
    pub links: Vec<(usize, String)>,
    /// Its headings, as links name them.
    pub anchors: Vec<String>,
}

impl Page {
    pub fn parse(markdown: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let mut language = String::new();
        let mut seen = HashMap::new();
        let parser = Parser::new_ext(markdown, Options::ENABLE_TABLES);
        for (event, range) in parser.into_offset_iter() {
            let line = markdown[..range.start].matches('\n').count() + 1;
            match event {
                Event::Code(code) => {
                    heading.iter_mut().for_each(|it| it.push_str(&code));
                    page.code_spans.push((line, code.to_string()));
                }
                Event::Text(text) => {
                    heading.iter_mut().for_each(|it| it.push_str(&text));
                    if language.is_empty() {
                        page.prose.push((line, text.to_string()));
                    }
                    match language.split(',').next() {
                        Some("mermaid") => page.diagrams.push((line, text.to_string())),
                        Some("rust" | "python") => page.programs.push(text.to_string()),
                        _ => {}
                    }
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(of))) => {
                    language = if of.is_empty() {
                        "text".into()
                    } else {
                        of.to_string()
                    }
                }
                Event::End(TagEnd::CodeBlock) => language.clear(),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push((line, dest_url.to_string()));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let count: &mut usize = seen.entry(anchor.clone()).or_default();
                    page.anchors.push(match *count {
                        0 => anchor,
                        count => format!("{anchor}-{count}"),
                    });
                    *count += 1;
                }
                _ => {}
            }
        }
        page
    }
}

/// A heading as a link names it, in mdBook and in repository browsers.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    });
    kept.collect::<String>().to_lowercase()
}

/// What is wrong with the links of a page at `path` in the repository at `root`.
pub fn broken_links(root: &Path, path: &Path, page: &Page) -> Vec<String> {
    let complain = |(line, link): &(usize, String)| {
        let what = what_is_wrong(root, path, page, link)?;
        Some(format!("{}:{line}: link to {link}: {what}", path.display()))
    };
    page.links.iter().filter_map(complain).collect()
}

fn what_is_wrong(root: &Path, path: &Path, page: &Page, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return None;
    }
    let (file, anchor) = match link.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (link, None),
    };
    let target = match file {
        "" => path.to_owned(),
        file => path.parent().unwrap_or(Path::new("")).join(file),
    };
    let Some(target) = normalised(&target) else {
        return Some("it leads out of the repository".to_owned());
    };
    if file.starts_with('/') || file.is_empty() && anchor.is_none() {
        return Some("it is not relative".to_owned());
    }
    if !root.join(&target).exists() {
        return Some("no such file".to_owned());
    }
    let anchor = anchor?;
    let is_page = target.extension().is_some_and(|it| it == "md");
    if !is_page {
        return Some("a line's number in a source file does not last".to_owned());
    }
    let has_it = |page: &Page| page.anchors.iter().any(|it| it == anchor);
    let found = if file.is_empty() {
        has_it(page)
    } else {
        let text = std::fs::read_to_string(root.join(target));
        text.is_ok_and(|text| has_it(&Page::parse(&text)))
    };
    (!found).then(|| "no such heading".to_owned())
}

/// The same path without `..`; `None` if it leads out.
pub fn normalised(path: &Path) -> Option<PathBuf> {
    let mut result = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => result.pop().then_some(())?,
            Component::Normal(name) => result.push(name),
            _ => {}
        }
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_names_is_found_with_its_line() {
        let page = Page::parse(
            "# The `Server`\n\nSee `a` and [b](../src/b.rs).\n\n| c | d |\n|---|---|\n\
             | `e` | f |\n\n\
             ```rust\nlet g;\n```\n\n```mermaid\nh --> i\n```\n",
        );
        let spans = [(1, "Server"), (3, "a"), (7, "e")].map(|(line, it)| (line, it.to_owned()));
        assert_eq!(page.code_spans, spans);
        assert_eq!(page.links, [(3, "../src/b.rs".to_owned())]);
        assert_eq!(page.diagrams, [(14, "h --> i\n".to_owned())]);
        assert_eq!(page.programs, ["let g;\n"]);
        assert_eq!(page.anchors, ["the-server"]);
    }

    #[test]
    fn a_heading_is_named_as_browsers_do() {
        let page =
            Page::parse("# `top`: who `self` is\n## Cost\n## Cost\n## Nagle's algorithm, 2nd\n");
        let anchors = ["top-who-self-is", "cost", "cost-1", "nagles-algorithm-2nd"];
        assert_eq!(page.anchors, anchors);
    }

    #[test]
    fn a_broken_link_is_found() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docs/part")).unwrap();
        std::fs::create_dir(root.path().join("src")).unwrap();
        std::fs::write(root.path().join("src/x.rs"), "").unwrap();
        std::fs::write(root.path().join("docs/part/page.md"), "").unwrap();
        std::fs::write(root.path().join("docs/other.md"), "# A heading\n").unwrap();
        let broken = |links: &str| {
            let page = Page::parse(&format!("# Here\n{links}"));
            broken_links(root.path(), Path::new("docs/part/page.md"), &page)
        };
        let good =
            "[a](../../src/x.rs) [b](../other.md#a-heading) [c](#here) [d](https://example.org/#x)";
        assert_eq!(broken(good), [""; 0]);
        for bad in [
            "../../src/y.rs",
            "../other.md#none",
            "#none",
            "other.md",
            "../../../x",
            "/src/x.rs",
            "../../src/x.rs#L1",
        ] {
            assert_eq!(broken(&format!("[a]({bad})")).len(), 1, "{bad}");
        }
    }
}
