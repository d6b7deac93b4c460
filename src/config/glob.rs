//! Globs over names, tags and paths.
//!
//! A single matcher of the library panics where a pattern makes too large an automaton, or one with groups too deep within each other;
//! a set, even of one, has an error for it.

use std::path::Path;

use globset::{ErrorKind, GlobBuilder, GlobSet};

/// Bytes of a pattern. The library reads braces within braces by recursion.
const LONGEST: usize = 1024;

/// A pattern, ready to be matched.
#[derive(Debug, Clone)]
pub struct Glob(GlobSet);

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    #[error("it has more than {LONGEST} bytes")]
    TooLong,
    #[error("it has too many braces within each other, or stands for too much")]
    TooMuch,
    #[error("{0}")]
    Syntax(String),
}

impl Glob {
    /// Over names, which have no separators: `*` matches all that they have.
    ///
    /// # Errors
    /// Where `text` is none that can be matched.
    pub fn of_names(text: &str) -> Result<Self, GlobError> {
        Self::new(text, false)
    }

    /// Over paths: `*` and `?` match no slash, `**` matches any number of components.
    ///
    /// # Errors
    /// Where `text` is none that can be matched.
    pub fn of_paths(text: &str) -> Result<Self, GlobError> {
        Self::new(text, true)
    }

    fn new(text: &str, separators: bool) -> Result<Self, GlobError> {
        if text.len() > LONGEST {
            return Err(GlobError::TooLong);
        }
        let glob = GlobBuilder::new(text).literal_separator(separators).build();
        let set = glob.and_then(|glob| GlobSet::builder().add(glob).build());
        set.map(Self).map_err(|error| match error.kind() {
            ErrorKind::Regex(_) => GlobError::TooMuch,
            other => GlobError::Syntax(other.to_string()),
        })
    }

    pub fn is_match(&self, path: impl AsRef<Path>) -> bool {
        self.0.is_match(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slash_counts_in_paths_only() {
        for (pattern, text, in_names, in_paths) in [
            ("*", "a/b", true, false),
            ("a?b", "a/b", true, false),
            ("**/b", "a/b", true, true),
            ("{a,b}/*", "b/c", true, true),
            ("v[0-9]*", "v1.2", true, true),
            ("v[0-9]*", "vx", false, false),
        ] {
            let found = [Glob::of_names(pattern), Glob::of_paths(pattern)].map(|glob| glob.unwrap().is_match(text));
            assert_eq!(found, [in_names, in_paths], "{pattern} {text}");
        }
    }

    #[test]
    fn what_the_library_panics_on_is_refused() {
        let deep = |levels: usize| format!("{}a{}", "{".repeat(levels), "}".repeat(levels));
        for (pattern, error) in [
            (deep(300), GlobError::TooMuch),
            (deep(200_000), GlobError::TooLong),
            ("?".repeat(1 << 20), GlobError::TooLong),
            ("a[".to_owned(), GlobError::Syntax("unclosed character class; missing ']'".to_owned())),
        ] {
            assert_eq!(Glob::of_names(&pattern).unwrap_err(), error, "{pattern:.20}");
            assert_eq!(Glob::of_paths(&pattern).unwrap_err(), error, "{pattern:.20}");
        }
        assert!(Glob::of_names(&"*".repeat(LONGEST)).unwrap().is_match("a"));
    }
}
