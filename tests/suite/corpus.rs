//! The inputs that fuzzing has found interesting, on the stable compiler: what must hold of any input holds of them. See `fuzz/README.md`.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use crate::properties;
use crate::support::repository;

type Property = fn(&[u8]);

/// The fuzz targets, and what must hold of their inputs.
const TARGETS: [(&str, Property); 14] = [
    ("cache_entry", properties::cache::check),
    ("challenge", properties::challenge::check),
    ("config", properties::config::check),
    ("docker_config", properties::logins::check),
    ("dockerfile", properties::dockerfile::check),
    ("dockerignore", properties::ignore::check),
    ("git", |bytes| properties::repository::check(&String::from_utf8_lossy(bytes))),
    ("import", properties::import::check),
    ("layer", properties::layer::check),
    ("lock", |bytes| properties::lock::check(&String::from_utf8_lossy(bytes))),
    ("manifest", properties::documents::check),
    ("metadata_action", |bytes| properties::tags::check(&String::from_utf8_lossy(bytes))),
    ("reference", |bytes| properties::names::check(&String::from_utf8_lossy(bytes))),
    ("words", |bytes| properties::words::check(&String::from_utf8_lossy(bytes))),
];

/// Every input of a fuzz target, in the order of their names.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(repository().join("fuzz/corpus").join(target)).expect("a committed corpus");
    let mut found: Vec<_> = entries.flatten().map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect();
    found.sort();
    assert!(found.len() > 10, "{target} has {} inputs", found.len());
    found
}

/// Half of the targets each, so that they run beside each other.
fn replayed(half: usize) {
    for (target, property) in TARGETS.iter().skip(half).step_by(2) {
        let broken = |(_, bytes): &(PathBuf, Vec<u8>)| catch_unwind(|| property(bytes)).is_err();
        let broken: Vec<PathBuf> = corpus(target).into_iter().filter(broken).map(|(path, _)| path).collect();
        assert!(broken.is_empty(), "what the panics above say does not hold of {broken:?}");
    }
}

#[test]
fn what_must_hold_of_any_input_holds_of_the_corpora() {
    replayed(0);
}

#[test]
fn what_must_hold_of_any_input_holds_of_the_other_corpora() {
    replayed(1);
}

#[test]
fn every_target_has_its_corpus_and_its_property() {
    let targets = fs::read_dir(repository().join("fuzz/fuzz_targets")).unwrap();
    let mut names: Vec<String> = targets.flatten().map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, TARGETS.map(|(target, _)| format!("{target}.rs")));
}
