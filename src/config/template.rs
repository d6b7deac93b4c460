//! Tag templates: `v{major}.{minor}`. Syntax only; `plan::tags` renders them against git's facts.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::suggest::did_you_mean;

/// What a template may name. The value of each may be absent in a given run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    Sha,
    ShaLong,
    Branch,
    Tag,
    Version,
    Major,
    Minor,
    Patch,
    Pr,
    Date,
    Service,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Variable(Variable),
}

/// A parsed template; displays as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagTemplate {
    pub pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid tag: {reason}")]
pub struct TemplateError {
    pub reason: String,
    pub help: Option<String>,
    /// Bytes of the template.
    pub span: Range<usize>,
}

impl TemplateError {
    pub(super) fn new(span: Range<usize>, reason: impl Into<String>, help: Option<String>) -> Self {
        Self { reason: reason.into(), help, span }
    }

    /// The same where the text begins so many bytes later.
    pub(super) fn moved(self, bytes: usize) -> Self {
        Self { span: self.span.start + bytes..self.span.end + bytes, ..self }
    }
}

/// A tag has at most 128 characters; a template may be longer than what it renders to, but not without bound.
const LONGEST_TEMPLATE: usize = 512;

impl Variable {
    pub const ALL: [Self; 11] = [
        Self::Sha,
        Self::ShaLong,
        Self::Branch,
        Self::Tag,
        Self::Version,
        Self::Major,
        Self::Minor,
        Self::Patch,
        Self::Pr,
        Self::Date,
        Self::Service,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sha => "sha",
            Self::ShaLong => "sha_long",
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Version => "version",
            Self::Major => "major",
            Self::Minor => "minor",
            Self::Patch => "patch",
            Self::Pr => "pr",
            Self::Date => "date",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.name())
    }
}

impl fmt::Display for TagTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Variable(variable) => variable.fmt(f),
        })
    }
}

impl FromStr for TagTemplate {
    type Err = TemplateError;

    fn from_str(template: &str) -> Result<Self, TemplateError> {
        let error = |span: Range<usize>, reason: &str, help: Option<String>| TemplateError { reason: reason.to_owned(), help, span };
        if template.is_empty() || template.len() > LONGEST_TEMPLATE {
            return Err(error(0..template.len(), "a tag has 1 to 128 characters", None));
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < template.len() {
            let rest = &template[at..];
            if let Some(inner) = rest.strip_prefix('{') {
                let Some(length) = inner.find('}') else {
                    return Err(error(at..template.len(), "this brace is never closed", None));
                };
                let name = &inner[..length];
                let Some(variable) = Variable::ALL.into_iter().find(|variable| variable.name() == name) else {
                    let help = did_you_mean(name, Variable::ALL.map(Variable::name)).unwrap_or_else(known_variables);
                    return Err(error(at..at + length + 2, &format!("unknown variable {{{name}}}"), Some(help)));
                };
                pieces.push(Piece::Variable(variable));
                at += length + 2;
            } else {
                let text = &rest[..rest.find('{').unwrap_or(rest.len())];
                let foreign = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
                if let Some((offset, c)) = text.char_indices().find(|&(_, c)| foreign(c)) {
                    let span = at + offset..at + offset + c.len_utf8();
                    return Err(error(span, &format!("{c:?} cannot be part of a tag"), Some("use A-Z a-z 0-9 _ . -".to_owned())));
                }
                if pieces.is_empty() && text.starts_with(['.', '-']) {
                    return Err(error(at..at + 1, "a tag cannot begin with a dot or a dash", None));
                }
                pieces.push(Piece::Text(text.to_owned()));
                at += text.len();
            }
        }
        Ok(Self { pieces })
    }
}

fn known_variables() -> String {
    format!("known variables: {}", Variable::ALL.map(|variable| variable.to_string()).join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_displays_as_it_was_written() {
        for text in ["latest", "sha-{sha}", "v{version}", "{major}.{minor}", "{branch}-{sha_long}.{date}", "{service}", "pr-{pr}"] {
            assert_eq!(text.parse::<TagTemplate>().unwrap().to_string(), text);
        }
        let pieces = "v{major}x".parse::<TagTemplate>().unwrap().pieces;
        assert_eq!(pieces, [Piece::Text("v".into()), Piece::Variable(Variable::Major), Piece::Text("x".into())]);
    }

    #[test]
    fn a_malformed_template_names_the_bytes_and_the_fix() {
        for (text, span, part, help) in [
            ("", 0..0, "1 to 128", ""),
            ("a b", 1..2, "' '", "A-Z"),
            ("v{sha", 1..5, "never closed", ""),
            ("v{versoin}", 1..10, "unknown variable {versoin}", "did you mean `version`?"),
            ("{{version}}", 0..10, "unknown variable", "version"),
            ("{}", 0..2, "unknown variable {}", "known variables"),
            ("v}", 1..2, "'}'", ""),
            ("-x", 0..1, "begin", ""),
            ("é", 0..2, "'é'", ""),
        ] {
            let error = text.parse::<TagTemplate>().unwrap_err();
            assert_eq!(error.span, span, "{text}");
            assert!(error.reason.contains(part), "{text}: {}", error.reason);
            assert!(error.help.unwrap_or_default().contains(help), "{text}");
        }
        assert!("x".repeat(513).parse::<TagTemplate>().is_err());
    }
}
