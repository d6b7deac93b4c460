//! Members: directories that the globs of `members` name and that hold a Dockerfile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::finding::Finding;
use super::glob::Glob;
use super::layers::Layers;
use super::place::Place;
use crate::source::Files;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Canonical.
    pub directory: PathBuf,
    /// The pattern that found it.
    pub pattern: String,
}

const DOCKERFILE: &str = "Dockerfile";
const WILDCARDS: [char; 6] = ['*', '?', '[', ']', '{', '}'];

/// `**` descends no deeper than this below its pattern's literal head.
const DEEPEST: usize = 16;

/// Members by name. Patterns are known to be valid; `!pattern` takes away whatever the others found.
pub(super) fn find<'p>(
    place: &Place,
    layers: &Layers,
    patterns: impl Iterator<Item = &'p str> + Clone,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, Member> {
    let excluded: Vec<Glob> = patterns.clone().filter_map(|pattern| matcher(pattern.strip_prefix('!')?)).collect();
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for pattern in patterns.filter(|pattern| !pattern.starts_with('!')) {
        let at = || layers.item(&["members"], |item| item.as_str() == Some(pattern));
        let mut found = Vec::new();
        expand(place.files, &place.root, Path::new(""), &components(pattern), &mut found);
        found.retain(|path| !excluded.iter().any(|glob| glob.is_match(path)));
        let before = members.len();
        for path in &found {
            let text = path.to_string_lossy();
            let directory = match place.confine(&place.root, &text) {
                Ok(directory) => directory,
                Err(problem) => {
                    findings.push(Finding::error("brik::config::path", problem.to_string()).at(at()));
                    continue;
                }
            };
            let name = directory_name(path, &directory);
            if let Err(complaint) = super::format::Format::Service.check(&name) {
                let message = format!("the member {text} cannot be a service: {}", complaint.message);
                let help = format!("rename the directory or take it away with \"!{text}\"");
                findings.push(Finding::error("brik::config::invalid-service", message).help(help).at(at()));
                continue;
            }
            match members.get(&name) {
                Some(other) if other.directory != directory => {
                    let message =
                        format!("two members are named {name}: {} and {}", place.shown(&other.directory), place.shown(&directory));
                    let help = format!("take one away with \"!{text}\", and give it a table of another name with `context = \"{text}\"`");
                    findings.push(Finding::error("brik::config::duplicate-member", message).help(help).at(at()));
                }
                Some(_) => {}
                None => drop(members.insert(name, Member { directory, pattern: pattern.to_owned() })),
            }
        }
        if found.is_empty() && !pattern.contains(WILDCARDS) {
            let message = format!("the member {pattern} has no Dockerfile");
            findings.push(Finding::error("brik::config::no-dockerfile", message).at(at()));
        } else if found.is_empty() && members.len() == before {
            let message = format!("no directory that matches {pattern} has a Dockerfile");
            findings.push(Finding::warning("brik::config::no-member", message).at(at()));
        }
    }
    members
}

fn directory_name(path: &Path, directory: &Path) -> String {
    // `.` and `a/..` have no name of their own.
    path.file_name().or(directory.file_name()).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn matcher(pattern: &str) -> Option<Glob> {
    Glob::of_paths(&components(pattern).join("/")).ok()
}

/// Components of a pattern; braces that span a slash stay together.
fn components(pattern: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in pattern.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '/' if depth == 0 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[start..]);
    parts.retain(|part| !part.is_empty() && *part != ".");
    parts.dedup_by(|a, b| *a == "**" && a == b);
    parts
}

/// Directories with a Dockerfile below `root` that match, in order, component by component: only what can match is read.
fn expand(files: &dyn Files, root: &Path, at: &Path, pattern: &[&str], found: &mut Vec<PathBuf>) {
    let Some((first, rest)) = pattern.split_first() else {
        if files.is_file(&root.join(at).join(DOCKERFILE)) {
            found.push(at.to_owned());
        }
        return;
    };
    if *first == "**" {
        descend(files, root, at, rest, DEEPEST, found);
    } else if first.contains('{') && first.contains('/') {
        // Braces over several levels are matched as a whole below here.
        let Some(glob) = matcher(&pattern.join("/")) else { return };
        let mut below = Vec::new();
        descend(files, &root.join(at), Path::new(""), &[], DEEPEST, &mut below);
        found.extend(below.into_iter().filter(|path| glob.is_match(path)).map(|path| at.join(path)));
    } else if first.contains(WILDCARDS) {
        let Some(glob) = matcher(first) else { return };
        for (name, _) in directories(files, &root.join(at)) {
            if glob.is_match(&name) && (!name.starts_with('.') || first.starts_with('.')) {
                expand(files, root, &at.join(name), rest, found);
            }
        }
    } else {
        expand(files, root, &at.join(first), rest, found);
    }
}

/// `**`: here and in every directory below that is neither hidden nor a link.
fn descend(files: &dyn Files, root: &Path, at: &Path, rest: &[&str], levels: usize, found: &mut Vec<PathBuf>) {
    expand(files, root, at, rest, found);
    if levels == 0 {
        return;
    }
    for (name, is_link) in directories(files, &root.join(at)) {
        if !name.starts_with('.') && !is_link {
            descend(files, root, &at.join(name), rest, levels - 1, found);
        }
    }
}

/// Names of the directories in a directory, sorted, and whether each is a link to one. Unreadable ones hold no members.
fn directories(files: &dyn Files, directory: &Path) -> Vec<(String, bool)> {
    let names = files.directories(directory).unwrap_or_default();
    names.into_iter().filter_map(|(name, is_link)| Some((name.into_string().ok()?, is_link))).collect()
}
