//! Replays the corpora of the fuzz targets.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use socketserver_properties::TARGETS;

#[test]
fn every_property_holds_for_every_input_of_its_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut failures = Vec::new();
    for (target, check) in TARGETS {
        let files = fs::read_dir(corpus.join(target)).unwrap();
        let mut files = Vec::from_iter(files.map(|file| file.unwrap().path()));
        files.sort();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            let input = fs::read(&file).unwrap();
            let checked = catch_unwind(AssertUnwindSafe(|| check(&input)));
            if checked.is_err() {
                failures.push(file);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn every_target_has_its_program_and_every_corpus_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (target, _) in TARGETS {
        assert!(
            manifest.contains(&format!("\nname = \"{target}\"\n")),
            "{target}"
        );
        assert!(
            fuzz.join("fuzz_targets")
                .join(target)
                .with_extension("rs")
                .exists(),
            "{target}"
        );
    }
    for directory in ["corpus", "fuzz_targets"] {
        let entries = fs::read_dir(fuzz.join(directory)).unwrap();
        let mut names = entries.map(|it| it.unwrap().path());
        let is_target = |stem: &str| TARGETS.iter().any(|(target, _)| *target == stem);
        assert!(names.all(|it| is_target(it.file_stem().unwrap().to_str().unwrap())));
    }
}
