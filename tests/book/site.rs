//! The site that mdBook makes of the book has no dead links, and the front page of the crate
//! reaches its chapters. Skipped where mdBook is not installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{files_below, read, root};

/// The site, built into a directory of this test; `None`, with a line that explains it, without
/// mdBook.
fn build() -> Option<tempfile::TempDir> {
    let mdbook = std::env::var_os("MDBOOK").unwrap_or_else(|| "mdbook".into());
    let is_there = |program: &Path| Command::new(program).arg("--version").output().is_ok();
    if !is_there(mdbook.as_ref()) || !is_there("python3".as_ref()) {
        println!("skipped: mdbook and python3 build the site");
        return None;
    }
    let site = tempfile::tempdir().unwrap();
    let mut command = Command::new(mdbook);
    command
        .arg("build")
        .arg(root().join("docs"))
        .arg("--dest-dir")
        .arg(site.path());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    Some(site)
}

/// The local targets of a page's links and pictures, without their anchors, and the anchors.
fn targets(page: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let attributes = [" href=\"", " src=\""].into_iter();
    let values = attributes.flat_map(|attribute| page.split(attribute).skip(1));
    let targets = values.filter_map(|rest| rest.split('"').next());
    let local = targets
        .filter(|target| !target.is_empty() && !target.contains(':') && !target.starts_with("//"));
    local.map(|target| match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    })
}

/// The names that links to a page may end with.
fn anchors(page: &str) -> BTreeSet<&str> {
    let ids = page.split(" id=\"").skip(1);
    ids.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn every_link_of_the_site_leads_somewhere_and_no_diagram_is_left_as_text() {
    let Some(site) = build() else {
        return;
    };
    let root = site.path().canonicalize().unwrap();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path, text)
    };
    let pages = BTreeMap::from_iter(files_below(&root, "html").into_iter().map(read));
    assert!(pages.len() > 100, "{} pages", pages.len());
    let anchors = pages.iter().map(|(path, text)| (path, anchors(text)));
    let anchors = BTreeMap::from_iter(anchors);
    let mut dead = BTreeSet::new();
    for (page, text) in &pages {
        let name = page.strip_prefix(&root).unwrap().display();
        if text.contains("language-mermaid") {
            dead.insert(format!("{name}: a diagram"));
        }
        // Its links are those of the pages, from another place.
        if page.ends_with("404.html") {
            continue;
        }
        for (path, anchor) in targets(text) {
            let target = match path {
                "" => Ok(page.clone()),
                path => page.with_file_name(path).canonicalize(),
            };
            let is_there = target.is_ok_and(|target| match (anchors.get(&target), anchor) {
                (Some(anchors), Some(anchor)) => anchors.contains(anchor),
                _ => target.is_file(),
            });
            if !is_there {
                dead.insert(format!("{name}: {path}#{}", anchor.unwrap_or_default()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn the_front_page_of_the_crate_reaches_the_chapters() {
    let front = read(Path::new("src/lib.rs"));
    let links = front.split("](../../book/").skip(1);
    let links = Vec::from_iter(links.filter_map(|rest| rest.split(')').next()));
    assert!(links.len() > 5, "{links:?}");
    for link in links {
        // The site has the page of each Markdown file, and index.html for a README.
        let page = PathBuf::from("docs").join(link).with_extension("md");
        let readme = page.with_file_name("README.md");
        let is_index = page.ends_with("index.md") && root().join(readme).exists();
        assert!(is_index || root().join(&page).exists(), "{link}");
    }
}
