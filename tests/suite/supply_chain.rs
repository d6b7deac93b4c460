//! What brik is made of: where each dependency comes from, and that none is there twice for nothing. Offline and without a tool, by Cargo.lock
//! and deny.toml; licences and advisories are `just deny`'s.

use std::collections::BTreeMap;
use std::fs;

use toml::Table;

use crate::support::repository;

fn read(name: &str) -> Table {
    fs::read_to_string(repository().join(name)).unwrap().parse().unwrap()
}

/// Name and version of each, and its whole entry.
fn packages() -> Vec<(String, String, Table)> {
    let lock = read("Cargo.lock");
    let text = |table: &Table, key: &str| table[key].as_str().unwrap().to_owned();
    let packages = lock["package"].as_array().unwrap().iter().map(|package| package.as_table().unwrap().clone());
    packages.map(|package| (text(&package, "name"), text(&package, "version"), package)).collect()
}

#[test]
fn every_dependency_is_a_registry_s_and_its_bytes_are_pinned() {
    let (mut outside, packages) = (Vec::new(), packages());
    assert!(packages.len() > 100);
    for (name, _, package) in packages {
        let source = package.get("source").and_then(|source| source.as_str()).unwrap_or_default();
        let pinned = package.get("checksum").is_some_and(|sum| sum.as_str().unwrap().len() == 64);
        if name != "brik" && !(source.starts_with("registry+") && pinned) {
            outside.push(name);
        }
    }
    assert_eq!(outside, [""; 0]);
}

#[test]
fn no_dependency_is_there_in_two_versions_but_those_that_deny_toml_excuses() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    packages().into_iter().for_each(|(name, version, _)| versions.entry(name).or_default().push(version));
    let deny = read("deny.toml");
    let skipped: Vec<(&str, &str)> =
        deny["bans"]["skip"].as_array().unwrap().iter().filter_map(|skip| skip["crate"].as_str()?.split_once('@')).collect();
    let is_skipped =
        |name: &str, version: &str| skipped.iter().any(|(skip, begin)| *skip == name && version.starts_with(&format!("{begin}.")));
    let counted = |(name, versions): &(&String, &Vec<String>)| versions.iter().filter(|version| !is_skipped(name, version)).count() > 1;
    let twice: Vec<_> = versions.iter().filter(counted).collect();
    assert!(twice.is_empty(), "{twice:?}");
    // And none is excused that is not there any more.
    let stale = |(name, begin): &&(&str, &str)| {
        let there = versions.get(*name).map_or(&[][..], Vec::as_slice);
        there.len() < 2 || !there.iter().any(|version| version.starts_with(&format!("{begin}.")))
    };
    let stale: Vec<_> = skipped.iter().filter(stale).collect();
    assert!(stale.is_empty(), "{stale:?}");
}

#[test]
fn what_would_need_another_library_on_the_machine_is_not_there() {
    let deny = read("deny.toml");
    let denied: Vec<&str> = deny["bans"]["deny"].as_array().unwrap().iter().filter_map(|denied| denied["crate"].as_str()).collect();
    assert!(!denied.is_empty());
    let found: Vec<String> = packages().into_iter().map(|(name, ..)| name).filter(|name| denied.contains(&name.as_str())).collect();
    assert_eq!(found, [""; 0]);
}
