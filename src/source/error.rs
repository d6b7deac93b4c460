//! What can go wrong while sources are read.

use std::io;
use std::path::PathBuf;

use super::ignore::IgnoreError;
use super::pattern::PatternError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("build context {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    #[error("{}: {source}", path.display())]
    Ignore { path: PathBuf, source: IgnoreError },
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The path as the tree's user would write it, with a leading slash; worded as BuildKit does. `leads_to`: where links of it end.
    #[error("{path:?}: not found")]
    NotFound { path: String, leads_to: Option<String> },
    #[error("{0:?}: too many levels of symbolic links")]
    LinkLoop(String),
}

impl Error {
    /// `name` was looked for at `path`.
    pub(super) fn not_found(name: &[u8], path: &[u8]) -> Self {
        Self::NotFound { path: shown(name), leads_to: (name != path).then(|| shown(path)) }
    }
}

/// A tree path as people read it: absolute from the tree's root, lossy where it is not UTF-8.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
