//! An entry of a list of tags, and lists as they are written on a command line.

use std::fmt;
use std::str::FromStr;

use super::metadata_action::MetadataTag;
use super::template::{Piece, TagTemplate, TemplateError};

/// What makes a tag; displays as it was written.
#[derive(Debug, Clone)]
pub enum TagEntry {
    /// `v{version}`, or a tag that is always the same.
    Template(TagTemplate),
    /// `type=semver,pattern={{version}}`
    Metadata(Box<MetadataTag>),
}

impl TagEntry {
    /// A tag as it stands.
    pub fn literal(tag: &str) -> Self {
        Self::Template(TagTemplate { pieces: vec![Piece::Text(tag.to_owned())] })
    }

    /// Reads `--tags`: entries on lines of their own, or several on a line between commas where none of them is one of metadata-action's,
    /// which have commas themselves. Blanks around them are dropped, and what follows a `#` at the beginning of a line.
    ///
    /// # Errors
    /// On the first that is wrong, and if there is none at all.
    pub fn list(text: &str) -> Result<Vec<Self>, ListError> {
        let mut entries = Vec::new();
        for line in entry_lines(text) {
            let wrong = |entry: &str| {
                let entry = entry.to_owned();
                move |error| ListError::Entry { entry, error }
            };
            if MetadataTag::is_one(line) {
                entries.push(line.parse().map_err(wrong(line))?);
                continue;
            }
            for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
                entries.push(entry.parse().map_err(wrong(entry))?);
            }
        }
        if entries.is_empty() { Err(ListError::Empty) } else { Ok(entries) }
    }
}

/// The lines of a list of metadata-action's, without blanks around them, empty ones and comments.
pub fn entry_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    #[error("{entry:?}: {error}")]
    Entry { entry: String, error: TemplateError },
    #[error("the list of tags is empty")]
    Empty,
}

impl ListError {
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Entry { error, .. } => error.help.as_deref(),
            Self::Empty => None,
        }
    }
}

impl FromStr for TagEntry {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if MetadataTag::is_one(text) {
            return MetadataTag::parse(text).map(|tag| Self::Metadata(Box::new(tag)));
        }
        text.parse().map(Self::Template)
    }
}

impl fmt::Display for TagEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(template) => template.fmt(f),
            Self::Metadata(tag) => tag.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_takes_lines_and_commas_and_drops_blanks_and_comments() {
        for (text, expected) in [
            ("a", &["a"][..]),
            (" a , b ,\r\n c\n\n,a,", &["a", "b", "c", "a"]),
            ("v1.2.3\nsha-{sha}\n", &["v1.2.3", "sha-{sha}"]),
            ("type=sha,format=long\na,b", &["type=sha,format=long", "a", "b"]),
            ("# comment\n  type=raw,value=x  \n{{branch}}", &["type=raw,value=x", "{{branch}}"]),
        ] {
            let entries: Vec<String> = TagEntry::list(text).unwrap().iter().map(TagEntry::to_string).collect();
            assert_eq!(entries, expected, "{text:?}");
        }
        assert_eq!(TagEntry::list(" ,\n#a").unwrap_err(), ListError::Empty);
        let error = TagEntry::list("ok,bad tag").unwrap_err();
        assert!(error.to_string().starts_with("\"bad tag\": invalid tag"), "{error}");
        assert_eq!(TagEntry::list("type=shaa").unwrap_err().help(), Some("did you mean `sha`?"));
    }
}
