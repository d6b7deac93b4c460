//! The house: which room may use which, how large a file may grow, what may not be there at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::repository;

/// Room, and the rooms that it may use. Everything may use `oci`; nobody uses `cli`.
const MAY_USE: [(&str, &[&str]); 13] = [
    ("oci", &[]),
    ("config", &["oci", "source"]),
    ("source", &["oci"]),
    ("dockerfile", &["oci"]),
    ("import", &["oci", "config", "dockerfile"]),
    ("plan", &["oci", "config", "source", "dockerfile"]),
    ("policy", &["oci", "config", "dockerfile", "plan"]),
    ("store", &["oci"]),
    ("registry", &["oci"]),
    ("image", &["oci"]),
    ("report", &["oci"]),
    ("cache", &["oci", "plan", "store", "registry", "report"]),
    ("build", &["oci", "plan", "source", "store", "image", "registry", "cache", "report"]),
];

const MOST_LINES: usize = 450;

/// Every file below `src`, as a path relative to it, and its text.
fn sources() -> BTreeMap<PathBuf, String> {
    let src = repository().join("src");
    let mut files = BTreeMap::new();
    let mut pending = vec![src.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("src can be read").map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => pending.push(entry.path()),
                false => drop(files.insert(entry.path().strip_prefix(&src).unwrap().to_owned(), fs::read_to_string(entry.path()).unwrap())),
            }
        }
    }
    assert!(files.len() > 100, "these are not the sources: {:?}", files.keys());
    files
}

/// The rooms that a file names as `crate::room` or in `crate::{room, …}`, outside of comments and tests.
fn rooms_used(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().collect();
    let code: String = code.into_iter().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => top_level_names(group),
            None => vec![rest],
        };
        let word = |name: &str| name.trim_start().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>();
        rooms.extend(names.into_iter().map(word).filter(|name| !name.is_empty()));
    }
    rooms
}

/// `a::{b, c}, d}…` → `a::{b, c}`, `d`.
fn top_level_names(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                names.push(&group[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    names
}

#[test]
fn data_flows_one_way_through_the_rooms() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let room = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        if room == "cli" || room.ends_with(".rs") || is_test {
            continue;
        }
        let Some(may_use) = allowed.get(room.as_str()) else {
            wrong.push(format!("{}: the room {room} is not in the table", path.display()));
            continue;
        };
        let forbidden = rooms_used(&text).into_iter().filter(|used| *used != room && !may_use.contains(&used.as_str()));
        wrong.extend(forbidden.map(|used| format!("{}: {room} may not use {used}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_groups_and_inline_paths() {
    let text = "use crate::oci::Digest;\nuse crate::{plan::{self, Step}, store};\n// crate::not\nfn f() -> crate::image::Layer {}\n#[cfg(test)]\nmod tests {\nuse crate::cli;\n}";
    assert_eq!(rooms_used(text).into_iter().collect::<Vec<_>>(), ["image", "oci", "plan", "store"]);
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    let long = |(path, text): &(PathBuf, String)| rust(path) && text.lines().count() > MOST_LINES;
    let tests = fs::read_dir(repository().join("tests/suite")).unwrap().flatten().filter(|entry| entry.path().is_file());
    let tests = tests.map(|entry| (entry.path(), fs::read_to_string(entry.path()).unwrap()));
    let found: Vec<PathBuf> = sources().into_iter().chain(tests).filter(long).map(|(path, _)| path).collect();
    assert_eq!(found, [""; 0].map(PathBuf::from));
}

#[test]
fn nothing_is_named_after_what_has_no_room() {
    let homeless = |part: &Path| {
        matches!(part.file_stem().and_then(|stem| stem.to_str()), Some("util" | "utils" | "common" | "misc" | "helper" | "helpers"))
    };
    let found: Vec<PathBuf> = sources().into_keys().filter(|path| path.iter().any(|part| homeless(Path::new(part)))).collect();
    // registry/helper.rs is docker's word: a credential helper.
    let found: Vec<&PathBuf> = found.iter().filter(|path| !path.ends_with("registry/helper.rs")).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn unsafe_code_has_one_address() {
    let is_unsafe = |text: &str| {
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.any(|line| ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|form| line.contains(form)))
    };
    let found: Vec<PathBuf> = sources().into_iter().filter(|(_, text)| is_unsafe(text)).map(|(path, _)| path).collect();
    assert_eq!(found, [PathBuf::from("build/sandbox/sys.rs")]);
}

#[test]
fn only_the_last_rooms_write_to_the_terminal() {
    let prints = |text: &str| {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        ["println!(", "print!(", "dbg!("].iter().any(|form| code.contains(form))
    };
    let found: Vec<PathBuf> = sources().into_iter().filter(|(_, text)| prints(text)).map(|(path, _)| path).collect();
    let is_test = |path: &Path| path.ends_with("harness.rs") || path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
    let allowed = |path: &PathBuf| path.starts_with("cli") || path.starts_with("report") || is_test(path);
    let found: Vec<&PathBuf> = found.iter().filter(|path| !allowed(path)).collect();
    assert!(found.is_empty(), "{found:?}");
}
