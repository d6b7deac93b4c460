//! The inputs that fuzzing has found interesting, on the stable compiler: what must hold of any input holds of them. See `fuzz/README.md`.

use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use crate::properties;
use crate::support::repository;

/// Every input of a fuzz target.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(repository().join("fuzz/corpus").join(target)).expect("a committed corpus");
    let found: Vec<_> = entries.flatten().map(|entry| (entry.path(), fs::read(entry.path()).unwrap())).collect();
    assert!(found.len() > 10, "{target} has {} inputs", found.len());
    found
}

fn holds(target: &str, property: fn(&[u8])) {
    let broken = |(_, bytes): &(PathBuf, Vec<u8>)| catch_unwind(|| property(bytes)).is_err();
    let broken: Vec<PathBuf> = corpus(target).into_iter().filter(broken).map(|(path, _)| path).collect();
    assert!(broken.is_empty(), "what the panics above say does not hold of {broken:?}");
}

#[test]
fn what_holds_of_any_dockerfile_holds_of_the_corpus() {
    holds("dockerfile", properties::dockerfile::check);
}

#[test]
fn what_holds_of_any_ignore_file_holds_of_the_corpus() {
    holds("dockerignore", properties::ignore::check);
}

#[test]
fn what_holds_of_any_word_holds_of_the_corpus() {
    holds("words", |bytes| properties::words::check(&String::from_utf8_lossy(bytes)));
}
