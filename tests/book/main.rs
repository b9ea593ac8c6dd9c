//! The book in `docs/` is whole, and true of the sources: its pages, its links, the names it
//! mentions.

mod classes;
mod counterparts;
mod drawing;
mod names;
mod pages;
mod pictures;
mod sequence;
mod site;
mod words;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use counterparts::NamesOnPage;
use names::Names;
use pages::{Page, broken_links, normalised};
use support::words::BANNED;
use words::{WordsOfOthers, complaints, complaints_of_diagram, words_of_programs};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(root().join(path));
    text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files with this extension in `directory` and below, as paths from the root, in order.
fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let found = files_below(&root().join(directory), extension).into_iter();
    let from_root = |path: PathBuf| path.strip_prefix(root()).unwrap().to_owned();
    found.map(from_root).collect()
}

/// The files with this extension in `directory` and below, in order.
fn files_below(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The pages of the book, and the front page of the repository.
fn pages() -> Vec<(PathBuf, Page)> {
    let mut paths = files("docs", "md");
    paths.push("README.md".into());
    let parse = |path: PathBuf| {
        let page = Page::parse(&read(&path));
        (path, page)
    };
    paths.into_iter().map(parse).collect()
}

/// What the library and the services declare, with the names of the programs.
fn names() -> Names {
    let mut names = Names::default();
    for source in [files("src", "rs"), files("handlers/src", "rs")].concat() {
        names.read(&read(&source));
    }
    for target in ["socketserver", "socketserver_handlers"] {
        names.add_target(target);
    }
    for directory in [
        "examples",
        "handlers/examples",
        "tests",
        "handlers/tests",
        "benches",
    ] {
        // Not every package has each of them.
        for program in fs::read_dir(root().join(directory)).into_iter().flatten() {
            let path = program.unwrap().path();
            names.add_target(path.file_stem().unwrap().to_str().unwrap());
        }
    }
    names
}

/// The sets are the same; else what is in one of them alone.
fn assert_same(pages: &BTreeSet<PathBuf>, listed: &BTreeSet<PathBuf>, list: &str) {
    let missing = Vec::from_iter(pages.difference(listed));
    let surplus = Vec::from_iter(listed.difference(pages));
    assert!(missing.is_empty(), "not in {list}: {missing:?}");
    assert!(
        surplus.is_empty(),
        "in {list}, but there is no such page: {surplus:?}"
    );
}

#[test]
fn every_page_is_in_the_table_of_contents_once() {
    let summary = Page::parse(&read(Path::new("docs/SUMMARY.md")));
    let links = summary.links.iter().map(|(_, link)| link.as_str());
    // An empty link is a page that is still to be written.
    let listed = Vec::from_iter(
        links
            .filter(|it| !it.is_empty())
            .map(|it| Path::new("docs").join(it)),
    );
    let mut pages = BTreeSet::from_iter(files("docs", "md"));
    pages.remove(Path::new("docs/SUMMARY.md"));
    let once = BTreeSet::from_iter(listed.iter().cloned());
    assert_same(&pages, &once, "docs/SUMMARY.md");
    assert_eq!(
        listed.len(),
        once.len(),
        "a page is in docs/SUMMARY.md twice"
    );
}

/// The pages that `cargo test --doc` compiles.
fn compiled_pages(source: &str) -> BTreeSet<PathBuf> {
    let after = source.split("include_str!(\"").skip(1);
    let paths = after.filter_map(|rest| rest.split('"').next());
    let from_root = |path: &str| normalised(&Path::new("src").join(path));
    paths.filter_map(from_root).collect()
}

#[test]
fn the_code_of_every_page_is_compiled() {
    let mut pages = BTreeSet::from_iter(files("docs", "md"));
    pages.remove(Path::new("docs/SUMMARY.md"));
    let compiled = compiled_pages(&read(Path::new("src/book.rs")));
    assert_same(&pages, &compiled, "src/book.rs");
}

#[test]
#[should_panic(expected = "not in src/book.rs: [\"docs/missing.md\"]")]
fn a_page_that_is_missing_in_a_list_is_found() {
    let compiled = compiled_pages("#[doc = include_str!(\"../docs/there.md\")] struct There;");
    let pages = ["docs/there.md", "docs/missing.md"].map(PathBuf::from);
    assert_same(&BTreeSet::from(pages), &compiled, "src/book.rs");
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for (path, mut page) in pages() {
        if path == Path::new("docs/SUMMARY.md") {
            page.links.retain(|(_, link)| !link.is_empty());
        }
        broken.extend(broken_links(root(), &path, &page));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_name_that_the_pages_mention_exists() {
    let names = names();
    let mut others = WordsOfOthers::parse(include_str!("words_of_others.txt"));
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        let mut note = |line: usize, found: Vec<String>| {
            wrong.extend(
                found
                    .iter()
                    .map(|it| format!("{}:{line}: {it}", path.display())),
            );
        };
        let shown = words_of_programs(&page.programs);
        for (line, span) in &page.code_spans {
            let found = match file_in_span(span) {
                Some(_) if others.takes(span) => Vec::new(),
                Some(file) => complaint_about_file(&file).into_iter().collect(),
                None => complaints(span, &names, &shown, &mut others),
            };
            note(*line, found);
        }
        for (line, text) in &page.diagrams {
            note(*line, complaints_of_diagram(text, &names, &mut others));
        }
    }
    for path in pictures::sources() {
        let found = complaints_of_diagram(&read(&path), &names, &mut others);
        wrong.extend(found.iter().map(|it| format!("{}: {it}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let unused = others.unused();
    assert!(
        unused.is_empty(),
        "nothing uses these words of others: {unused:?}"
    );
}

/// A file of the repository, and the test in it, that a code span consists of.
#[derive(Debug, PartialEq, Eq)]
struct FileInSpan<'a> {
    path: &'a str,
    test: Option<&'a str>,
}

fn file_in_span(span: &str) -> Option<FileInSpan<'_>> {
    let (path, test) = match span.split_once(".rs::") {
        Some((stem, test)) => (&span[..stem.len() + 3], Some(test)),
        None => (span, None),
    };
    let is_path = path
        .chars()
        .all(|c| c.is_alphanumeric() || "_-./".contains(c));
    (is_path && path.ends_with(".rs")).then_some(FileInSpan { path, test })
}

/// There is such a file, by the end of its path, and it has such a test.
fn complaint_about_file(file: &FileInSpan<'_>) -> Option<String> {
    static SOURCES: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
        let directories = ["tests", "src", "handlers", "examples", "benches"];
        directories.map(|directory| files(directory, "rs")).concat()
    });
    let Some(path) = SOURCES.iter().find(|path| path.ends_with(file.path)) else {
        return Some(format!("no such file: {}", file.path));
    };
    let test = file.test?;
    let mut names = Names::default();
    names.read(&read(path));
    (!names.declares_callable(test)).then(|| format!("no test {test} in {}", path.display()))
}

#[test]
fn a_file_or_test_that_is_not_there_is_found() {
    let complaint = |span| complaint_about_file(&file_in_span(span).unwrap());
    assert_eq!(complaint("src/server.rs"), None);
    assert_eq!(complaint("shutdown.rs::a_handler_can_call_shutdown"), None);
    assert!(complaint("src/sever.rs").is_some());
    assert!(complaint("shutdown.rs::no_such_test").is_some());
    assert_eq!(file_in_span("TcpServer::new"), None);
    assert_eq!(file_in_span("rm src/server.rs"), None);
}

/// The banned words in a line of text.
fn banned_words(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !c.is_alphanumeric() && !"_'’".contains(c));
    words
        .filter(|word| BANNED.contains(&word.to_lowercase().as_str()))
        .collect()
}

#[test]
fn the_pages_use_no_words_of_a_private_dialect() {
    let mut found = Vec::new();
    for (path, page) in pages() {
        for (line, text) in &page.prose {
            let words = banned_words(text);
            found.extend(
                words
                    .iter()
                    .map(|it| format!("{}:{line}: {it}", path.display())),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert_eq!(banned_words("It is Told of telltale signs"), ["Told"]);
}

/// A recipe that the list of questions lacks would not be found.
#[test]
fn every_recipe_answers_a_question_in_the_list() {
    let list = Page::parse(&read(Path::new("docs/guide/recipes.md")));
    let links = list.links.iter().map(|(_, link)| link.clone());
    let asked = BTreeSet::from_iter(links.filter(|link| link.contains('#')));
    for path in files("docs/guide/recipes", "md") {
        let page = Page::parse(&read(&path));
        let file = path.strip_prefix("docs/guide").unwrap().display();
        // The first heading is that of the page.
        for anchor in &page.anchors[1..] {
            let link = format!("{file}#{anchor}");
            assert!(asked.contains(&link), "no question leads to {link}");
        }
    }
}

/// They would be read as text where the book is read in a repository.
#[test]
fn the_pages_are_plain_markdown() {
    for (path, _) in pages() {
        assert!(!read(&path).contains("{{#"), "{}", path.display());
    }
}

/// The items that a user of the crate sees.
fn public_items_of_crate() -> (BTreeSet<String>, BTreeSet<counterparts::PublicItem>) {
    let front = ["src/lib.rs", "src/mock/mod.rs"].map(|path| read(Path::new(path)));
    let exported = counterparts::exported_names(&front);
    let sources: Vec<_> = files("src", "rs").iter().map(|path| read(path)).collect();
    let items = counterparts::public_items(&sources, &exported);
    (exported, items)
}

#[test]
fn every_public_item_names_its_counterpart_in_python() {
    let text = read(Path::new("docs/design/python-names.md"));
    let page = NamesOnPage::new(&text, &Page::parse(&text).code_spans);
    let (exported, items) = public_items_of_crate();
    let declared = items.iter().filter(|it| it.member.is_none());
    let declared = BTreeSet::from_iter(declared.map(|it| it.owner.clone()));
    let lost = Vec::from_iter(exported.difference(&declared));
    assert!(lost.is_empty(), "exported, and not found: {lost:?}");
    let missing = counterparts::without_counterpart(&items, &page);
    assert!(
        missing.is_empty(),
        "no counterpart in Python in the documentation or in python-names.md: {missing:#?}"
    );
    let unknown = counterparts::not_exported(&page, &exported);
    assert!(unknown.is_empty(), "not exported: {unknown:?}");
}
