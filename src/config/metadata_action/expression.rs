//! Handlebars expressions, as far as metadata-action has a use for them: `{{branch}}`, `{{date 'YYYYMMDD' tz='Asia/Tokyo'}}`.

use std::ops::Range;

use jiff::tz::TimeZone;

use crate::config::suggest::did_you_mean;
use crate::config::template::TemplateError;

/// Text with expressions in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    pub parts: Vec<ExpressionPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpressionPart {
    Text(String),
    Branch,
    Tag,
    Sha,
    BaseRef,
    IsDefaultBranch,
    IsNotDefaultBranch,
    /// Now, in a format of moment.js.
    Date {
        format: String,
        zone: TimeZone,
    },
    CommitDate {
        format: String,
        zone: TimeZone,
    },
    Version(VersionPart),
}

/// What a pattern takes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionPart {
    Raw,
    Version,
    Major,
    Minor,
    Patch,
}

/// Which expressions mean something where an attribute stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// prefix, suffix, value, enable.
    Global,
    /// The pattern of type=schedule.
    Dates,
    /// The pattern of type=semver and type=pep440.
    Version,
}

impl Vocabulary {
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Global => &["branch", "tag", "sha", "base_ref", "is_default_branch", "is_not_default_branch", "date", "commit_date"],
            Self::Dates => &["date", "commit_date"],
            Self::Version => &["raw", "version", "major", "minor", "patch"],
        }
    }
}

impl Expression {
    pub fn text(text: &str) -> Self {
        Self { parts: vec![ExpressionPart::Text(text.to_owned())] }
    }

    pub(super) fn parse(text: &str, vocabulary: Vocabulary) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|open| at + open) {
            if open > at {
                parts.push(ExpressionPart::Text(text[at..open].to_owned()));
            }
            let Some(length) = text[open + 2..].find("}}") else {
                return Err(TemplateError::new(open..text.len(), "this expression is never closed", None));
            };
            let inner = open + 2..open + 2 + length;
            parts.push(Call { text, whole: open..inner.end + 2, inner: inner.clone() }.read(vocabulary)?);
            at = inner.end + 2;
        }
        if at < text.len() || parts.is_empty() {
            parts.push(ExpressionPart::Text(text[at..].to_owned()));
        }
        Ok(Self { parts })
    }
}

/// What stands between double braces.
struct Call<'a> {
    text: &'a str,
    whole: Range<usize>,
    inner: Range<usize>,
}

impl Call<'_> {
    fn read(&self, vocabulary: Vocabulary) -> Result<ExpressionPart, TemplateError> {
        let inner = &self.text[self.inner.clone()];
        let start = self.inner.start + inner.len() - inner.trim_start().len();
        let name = inner.trim_start().split(char::is_whitespace).next().unwrap_or_default();
        let name_span = start..start + name.len();
        if !vocabulary.words().contains(&name) {
            return Err(unknown(name, if name.is_empty() { self.whole.clone() } else { name_span }, vocabulary));
        }
        let after = &self.text[name_span.end..self.inner.end];
        if matches!(name, "date" | "commit_date") {
            let (format, zone) = self.date(name, name_span.end)?;
            return Ok(if name == "date" { ExpressionPart::Date { format, zone } } else { ExpressionPart::CommitDate { format, zone } });
        }
        if !after.trim().is_empty() {
            return Err(TemplateError::new(self.whole.clone(), format!("{{{{{name}}}}} takes no arguments"), None));
        }
        Ok(match name {
            "branch" => ExpressionPart::Branch,
            "tag" => ExpressionPart::Tag,
            "sha" => ExpressionPart::Sha,
            "base_ref" => ExpressionPart::BaseRef,
            "is_default_branch" => ExpressionPart::IsDefaultBranch,
            "is_not_default_branch" => ExpressionPart::IsNotDefaultBranch,
            "raw" => ExpressionPart::Version(VersionPart::Raw),
            "version" => ExpressionPart::Version(VersionPart::Version),
            "major" => ExpressionPart::Version(VersionPart::Major),
            "minor" => ExpressionPart::Version(VersionPart::Minor),
            _ => ExpressionPart::Version(VersionPart::Patch),
        })
    }

    /// `'format' tz='zone'`.
    fn date(&self, name: &str, from: usize) -> Result<(String, TimeZone), TemplateError> {
        let refuse = |reason: String| TemplateError::new(self.whole.clone(), reason, Some(format!("write {{{{{name} 'YYYYMMDD'}}}}")));
        let quoted = |at: usize| {
            let rest = &self.text[at..self.inner.end];
            let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
            let length = rest[1..].find(quote)?;
            Some((at + 1..at + 1 + length, at + length + 2))
        };
        let blanks = |at: usize| {
            let rest = &self.text[at..self.inner.end];
            at + rest.len() - rest.trim_start().len()
        };
        let (format, end) = quoted(blanks(from)).ok_or_else(|| refuse(format!("{{{{{name}}}}} lacks its format in quotes")))?;
        let format = self.text[format].to_owned();
        let rest = blanks(end);
        if rest == self.inner.end {
            return Ok((format, TimeZone::UTC));
        }
        let zone = self.text[rest..self.inner.end].strip_prefix("tz=").and_then(|_| quoted(rest + 3));
        let (zone, _) = zone
            .filter(|(_, end)| blanks(*end) == self.inner.end)
            .ok_or_else(|| refuse(format!("{{{{{name}}}}} takes a format and tz='…'")))?;
        match TimeZone::get(&self.text[zone.clone()]) {
            Ok(found) => Ok((format, found)),
            Err(_) => Err(TemplateError::new(zone.clone(), format!("there is no time zone {:?}", &self.text[zone]), None)),
        }
    }
}

fn unknown(name: &str, span: Range<usize>, vocabulary: Vocabulary) -> TemplateError {
    let help = match vocabulary {
        Vocabulary::Global if Vocabulary::Version.words().contains(&name) => format!("write type=semver,pattern={{{{{name}}}}}"),
        _ => did_you_mean(name, vocabulary.words().iter().copied())
            .unwrap_or_else(|| format!("known here: {}", vocabulary.words().join(" "))),
    };
    TemplateError::new(span, format!("unknown expression {{{{{name}}}}}"), Some(help))
}
