//! Where findings point to, as code forges take it: paths from the top of the repository.

use std::path::{Path, PathBuf};

use crate::config::{Finding, Source};
use crate::source::top_level;

pub struct Places {
    /// The directory that names of Dockerfiles are relative to: brik.toml's.
    root: PathBuf,
    /// What brik.toml is named from.
    cwd: PathBuf,
    /// The top of the git repository, else `root`.
    repository: PathBuf,
}

impl Places {
    /// `config`: brik.toml, if one is named or found.
    pub fn new(cwd: PathBuf, config: Option<&Path>) -> Self {
        let named = config.and_then(|file| cwd.join(file).parent().map(Path::to_owned));
        let found = || cwd.ancestors().find(|directory| directory.join("brik.toml").is_file()).map(Path::to_owned);
        let root = named.or_else(found).unwrap_or_else(|| cwd.clone());
        let root = root.canonicalize().unwrap_or(root);
        let repository = top_level(&root).unwrap_or_else(|| root.clone());
        Self { root, cwd, repository }
    }

    /// The path of a source; nothing for what is no file of the repository, as a flag.
    pub fn path_of(&self, source: &Source) -> Option<String> {
        let file = [&self.root, &self.cwd].into_iter().map(|from| from.join(&*source.name)).find(|file| file.is_file())?;
        let file = file.canonicalize().ok()?;
        Some(file.strip_prefix(&self.repository).ok()?.to_str()?.to_owned())
    }
}

/// File and line that a finding is about: the file as `places` has it, else as the user names it.
pub fn place(finding: &Finding, places: Option<&Places>) -> (Option<String>, Option<usize>) {
    let Some(location) = &finding.location else { return (None, None) };
    let file = match places {
        Some(places) => places.path_of(&location.source),
        None => Some(location.source.name.to_string()),
    };
    (file, Some(location.source.position(location.span.start).0))
}
