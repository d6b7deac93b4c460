//! Members: directories that the globs of `members` name and that hold a Dockerfile.

use std::collections::{BTreeMap, HashMap, HashSet};
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
        let mut found = Expansion::of(place.files, &place.root, &components(pattern));
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

/// Directories with a Dockerfile below a root that match, in order, component by component: only what can match is read.
///
/// Several `**` lead to the same directory at the same place of the pattern in very many ways. Each is followed once.
struct Expansion<'a> {
    files: &'a dyn Files,
    root: &'a Path,
    /// Directories, with how many components were still to be matched there.
    seen: HashSet<(PathBuf, usize)>,
    /// The same of those that a `**` went through, and how many levels more it would have gone.
    descended: HashMap<(PathBuf, usize), usize>,
    found: Vec<PathBuf>,
}

impl Expansion<'_> {
    fn of(files: &dyn Files, root: &Path, pattern: &[&str]) -> Vec<PathBuf> {
        let mut expansion = Expansion { files, root, seen: HashSet::new(), descended: HashMap::new(), found: Vec::new() };
        expansion.expand(Path::new(""), pattern);
        expansion.found
    }

    fn expand(&mut self, at: &Path, pattern: &[&str]) {
        if !self.seen.insert((at.to_owned(), pattern.len())) {
            return;
        }
        let Some((first, rest)) = pattern.split_first() else {
            if self.files.is_file(&self.root.join(at).join(DOCKERFILE)) {
                self.found.push(at.to_owned());
            }
            return;
        };
        if *first == "**" {
            self.descend(at, rest, DEEPEST);
        } else if first.contains('{') && first.contains('/') {
            // Braces over several levels are matched as a whole below here.
            let Some(glob) = matcher(&pattern.join("/")) else { return };
            let below = Expansion::of(self.files, &self.root.join(at), &["**"]);
            self.found.extend(below.into_iter().filter(|path| glob.is_match(path)).map(|path| at.join(path)));
        } else if first.contains(WILDCARDS) {
            let Some(glob) = matcher(first) else { return };
            for (name, _) in directories(self.files, &self.root.join(at)) {
                if glob.is_match(&name) && (!name.starts_with('.') || first.starts_with('.')) {
                    self.expand(&at.join(name), rest);
                }
            }
        } else {
            self.expand(&at.join(first), rest);
        }
    }

    /// `**`: here and in every directory below that is neither hidden nor a link.
    fn descend(&mut self, at: &Path, rest: &[&str], levels: usize) {
        if self.descended.get(&(at.to_owned(), rest.len())).is_some_and(|gone| *gone >= levels) {
            return;
        }
        self.descended.insert((at.to_owned(), rest.len()), levels);
        self.expand(at, rest);
        if levels == 0 {
            return;
        }
        for (name, is_link) in directories(self.files, &self.root.join(at)) {
            if !name.starts_with('.') && !is_link {
                self.descend(&at.join(name), rest, levels - 1);
            }
        }
    }
}

/// Names of the directories in a directory, sorted, and whether each is a link to one. Unreadable ones hold no members.
fn directories(files: &dyn Files, directory: &Path) -> Vec<(String, bool)> {
    let names = files.directories(directory).unwrap_or_default();
    names.into_iter().filter_map(|(name, is_link)| Some((name.into_string().ok()?, is_link))).collect()
}
