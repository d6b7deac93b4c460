//! `members`: globs that find directories and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::found::{base_name, parent};

/// As many are named one by one at the top, where a `*` would be about everything.
const FEW: usize = 6;

/// Directories that are there for services: the next one is meant as well.
const HOMES: [&str; 2] = ["apps", "services"];

/// The shortest patterns that find just `directories`, all of which have a Dockerfile.
pub(super) fn patterns(root: &Path, directories: &BTreeSet<String>) -> Vec<String> {
    let mut by_parent: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for directory in directories {
        by_parent.entry(parent(directory)).or_default().push(directory);
    }
    let mut patterns = Vec::new();
    let mut exceptions = Vec::new();
    for (above, wanted) in by_parent {
        let others: Vec<String> = with_dockerfile(root, above).into_iter().filter(|other| !directories.contains(other)).collect();
        let most = match above {
            "." => FEW,
            home if HOMES.contains(&base_name(home)) => 0,
            _ => 1,
        };
        if wanted.len() > most && others.len() < wanted.len() {
            patterns.push(if above == "." { "*".to_owned() } else { format!("{}/*", escaped(above)) });
            exceptions.extend(others.iter().map(|other| format!("!{}", escaped(other))));
        } else {
            patterns.extend(wanted.into_iter().map(|directory| escaped(directory)));
        }
    }
    patterns.extend(exceptions);
    patterns
}

/// The directories right below one that `*` would find.
fn with_dockerfile(root: &Path, above: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(above)).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let below = named.filter(|name| !name.starts_with('.')).map(|name| if above == "." { name } else { format!("{above}/{name}") });
    let mut found: Vec<String> = below.filter(|path| root.join(path).join("Dockerfile").is_file()).collect();
    found.sort();
    found
}

/// Whether a directory can be named by a pattern at all.
pub(super) fn can_be_member(directory: &str) -> bool {
    super::names::service_name(base_name(directory)) == base_name(directory) && !directory.starts_with('!') && directory != "."
}

/// Characters of patterns stand for themselves in brackets.
fn escaped(path: &str) -> String {
    path.chars().map(|c| if "*?[]{}\\".contains(c) { format!("[{c}]") } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_written_where_it_is_shorter() {
        let root = tempfile::tempdir().unwrap();
        let all = ["base", "services/a", "services/b", "services/c", "libs/x", "apps/one", "apps/two", "apps/three"];
        for directory in all {
            fs::create_dir_all(root.path().join(directory)).unwrap();
            fs::write(root.path().join(directory).join("Dockerfile"), "").unwrap();
        }
        let of = |directories: &[&str]| patterns(root.path(), &directories.iter().map(|d| (*d).to_owned()).collect());
        assert_eq!(of(&["base", "services/a", "services/b", "services/c"]), ["base", "services/*"]);
        assert_eq!(of(&["services/a", "services/c"]), ["services/*", "!services/b"]);
        assert_eq!(of(&["apps/one"]), ["apps/one"]);
        assert_eq!(of(&["libs/x"]), ["libs/x"]);
        fs::remove_file(root.path().join("apps/two/Dockerfile")).unwrap();
        fs::remove_file(root.path().join("apps/three/Dockerfile")).unwrap();
        assert_eq!(of(&["apps/one"]), ["apps/*"]);
    }
}
