//! `.dockerignore` and `<Dockerfile>.dockerignore` (Dockerfile reference, ".dockerignore files").

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::files::{Files, read_text};
use super::pattern::{PatternError, clean};
use super::pattern_list::{PatternList, Verdict};

/// A refused pattern and the bytes of the file where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {pattern}")]
pub struct IgnoreError {
    /// The pattern's bytes in the file.
    pub span: Range<usize>,
    /// Counted from 1.
    pub line: usize,
    pub pattern: PatternError,
}

/// What a build context leaves out.
#[derive(Debug, Clone, Default)]
pub struct IgnoreFile {
    patterns: PatternList,
}

impl IgnoreFile {
    pub fn parse(bytes: &[u8]) -> Result<Self, IgnoreError> {
        let mut patterns = PatternList::default();
        let mut start = bytes.len() - bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).len();
        let mut number = 0;
        while start < bytes.len() {
            let line = bytes[start..].split(|&b| b == b'\n').next().unwrap_or_default();
            let trimmed = line.trim_ascii();
            number += 1;
            // A `#` is a comment in the first column only.
            if !line.starts_with(b"#") && !trimmed.is_empty() {
                patterns.push(&from_root(trimmed)).map_err(|pattern| {
                    let from = start + (line.len() - line.trim_ascii_start().len());
                    IgnoreError { span: from..from + trimmed.len(), line: number, pattern }
                })?;
            }
            start += line.len() + 1;
        }
        Ok(Self { patterns })
    }

    /// The file that rules a directory: `<dockerfile>.dockerignore` beside the Dockerfile that it is the context of, else its own
    /// `.dockerignore`. A named context has no Dockerfile. What is there and cannot be read is an error later: that nothing is excluded is
    /// the last thing that is meant by it.
    pub fn locate(files: &dyn Files, dockerfile: Option<&Path>, context: &Path) -> Option<PathBuf> {
        let beside = dockerfile.map(|dockerfile| {
            let mut beside = dockerfile.as_os_str().to_owned();
            beside.push(".dockerignore");
            PathBuf::from(beside)
        });
        beside.into_iter().chain([context.join(".dockerignore")]).find(|path| files.canonicalize(path).is_ok())
    }

    /// Reads the file that rules a directory; where there is none, nothing is excluded.
    pub fn load(files: &dyn Files, dockerfile: Option<&Path>, context: &Path) -> Result<Self, Error> {
        let Some(path) = Self::locate(files, dockerfile, context) else { return Ok(Self::default()) };
        match read_text(files, &path) {
            Ok(bytes) => Self::parse(&bytes).map_err(|source| Error::Ignore { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Whether a path of the context is left out; the context's root (the empty path) never is.
    pub fn excludes(&self, path: &[u8]) -> bool {
        !path.is_empty() && self.patterns.matches(path)
    }

    /// Whether nothing that a source of COPY names can be in the context: see [`PatternList::leaves_nothing_of`].
    pub fn leaves_nothing_of(&self, source: &str) -> bool {
        self.patterns.leaves_nothing_of(&clean(source.as_bytes()))
    }

    pub(super) fn judge(&self, path: &[u8], parent: &Verdict) -> Verdict {
        self.patterns.judge(path, parent)
    }

    pub(super) fn takes(&self, path: &[u8], parent: &Verdict) -> bool {
        self.patterns.takes(path, parent)
    }

    pub(super) fn may_differ_below(&self, directory: &[u8], verdict: &Verdict) -> bool {
        self.patterns.may_differ_below(directory, verdict)
    }
}

/// Patterns count from the context's root with or without a leading slash, `!` before it included.
fn from_root(line: &[u8]) -> Vec<u8> {
    let (mark, body) = line.strip_prefix(b"!").map_or((&b""[..], line), |body| (&b"!"[..], body.trim_ascii()));
    if body.is_empty() {
        return mark.to_vec();
    }
    let cleaned = clean(body);
    let relative = if cleaned.len() > 1 { cleaned.strip_prefix(b"/").unwrap_or(&cleaned) } else { &cleaned };
    [mark, relative].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Disk;
    use std::fs;

    fn excludes(file: &str, path: &str) -> bool {
        IgnoreFile::parse(file.as_bytes()).unwrap().excludes(path.as_bytes())
    }

    #[test]
    fn lines_are_trimmed_cleaned_and_counted_from_the_root() {
        for (file, path, expected) in [
            ("one\n/two\n", "one", true),
            ("one\n/two\n", "two", true),
            ("/a/file//here\r\n", "a/file/here", true),
            ("*\n! /kept/file\n", "kept/file", false),
            ("*\n!kept\n", "kept/file", false),
            ("\u{feff}one\n", "one", true),
            ("# one\n", "# one", false),
            (" #one\n", "#one", true),
            ("dir/\n", "dir/x", true),
            ("..\n", "x", false),
            (".\n", "x", false),
            ("/\n", "x", false),
            ("last", "last", true),
            ("", "", false),
            ("**\n", "", false),
            ("**\n", ".dockerignore", true),
        ] {
            assert_eq!(excludes(file, path), expected, "{file:?} on {path}");
        }
    }

    #[test]
    fn a_refused_pattern_is_reported_where_it_stands() {
        let error = IgnoreFile::parse(b"ok\n  [x-]  \nok\n").unwrap_err();
        assert_eq!((error.span, error.line), (5..9, 2));
        let error = IgnoreFile::parse(b"ok\n! ").unwrap_err();
        assert_eq!((error.span, error.line), (3..4, 2));
    }

    #[test]
    fn the_file_beside_the_dockerfile_wins() {
        let directory = tempfile::tempdir().unwrap();
        let context = directory.path();
        let dockerfile = context.join("Dockerfile");
        assert!(!IgnoreFile::load(&Disk, Some(&dockerfile), context).unwrap().excludes(b"a"));
        fs::write(context.join(".dockerignore"), "a").unwrap();
        assert!(IgnoreFile::load(&Disk, Some(&dockerfile), context).unwrap().excludes(b"a"));
        fs::write(context.join("Dockerfile.dockerignore"), "b").unwrap();
        let ignore = IgnoreFile::load(&Disk, Some(&dockerfile), context).unwrap();
        assert_eq!((ignore.excludes(b"a"), ignore.excludes(b"b")), (false, true));
    }
}
