//! The files that change between two builds.

use std::fs;
use std::path::PathBuf;

/// Which files change, relative to the monorepo.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    /// `changing.txt` of the first service if none is named.
    pub one_file: Option<PathBuf>,
    /// One whose comments do not reach what is built from it.
    pub same_output: Option<PathBuf>,
}

/// A file that gets a comment at its end.
pub struct Edit {
    path: PathBuf,
    original: Vec<u8>,
}

impl Edit {
    pub fn of(path: PathBuf) -> std::io::Result<Self> {
        let original = if path.exists() { fs::read(&path)? } else { b"unchanged\n".to_vec() };
        Ok(Self { path, original })
    }

    /// Writes it with this comment, or as it was. It stays untouched if it is so already.
    pub fn write(&self, comment: &str) -> Result<(), String> {
        let mut text = self.original.clone();
        if !comment.is_empty() {
            let sign = if self.path.extension().is_some_and(|extension| extension == "py") { "#" } else { "//" };
            text.extend_from_slice(format!("{sign} {comment}\n").as_bytes());
        }
        if fs::read(&self.path).is_ok_and(|bytes| bytes == text) {
            return Ok(());
        }
        fs::write(&self.path, text).map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }
}
