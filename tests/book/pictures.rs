//! The pictures in `docs/pictures`: each SVG is drawn from the text beside it.
//!
//! `WRITE_PAGES=1 cargo test --test book pictures` draws them anew.

use std::path::PathBuf;
use std::{env, fs};

use crate::{classes, files, read, root, sequence};

/// The sources of the pictures, as paths from the root of the repository.
pub fn sources() -> Vec<PathBuf> {
    files("docs/pictures", "mmd")
}

#[test]
fn every_picture_is_drawn_from_its_text() {
    let sources = sources();
    let mut wrong = Vec::new();
    for source in &sources {
        let text = read(source);
        let drawn = match text.starts_with("classDiagram") {
            true => classes::svg(&text),
            false => sequence::svg(&text),
        };
        let drawn = drawn.unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        let picture = source.with_extension("svg");
        if env::var_os("WRITE_PAGES").is_some() {
            fs::write(root().join(&picture), &drawn).unwrap();
        }
        if fs::read_to_string(root().join(&picture)).ok() != Some(drawn) {
            wrong.push(picture);
        }
    }
    assert!(
        wrong.is_empty(),
        "not what their texts draw; see tests/book/pictures.rs: {wrong:?}"
    );
    let drawn = Vec::from_iter(sources.iter().map(|it| it.with_extension("svg")));
    assert_eq!(
        files("docs/pictures", "svg"),
        drawn,
        "a picture without a text"
    );
}
