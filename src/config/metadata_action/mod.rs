//! The lines that docker/metadata-action takes as its `tags` and `flavor`: `type=semver,pattern={{version}}`. Syntax only;
//! `plan::metadata_action` renders them against an event's facts.
//!
//! - `fields`: a line as comma-separated values; `expression`: what stands in double braces; `pattern`: regular expressions.
//! - `tag` (here): the types with their attributes; `flavor`: what holds for all tags.

mod expression;
mod fields;
mod flavor;
mod pattern;

use std::fmt;

pub use expression::{Expression, ExpressionPart, VersionPart};
pub use flavor::{Affix, Flavor, Latest};
pub use pattern::Pattern;

use self::expression::Vocabulary;
use self::fields::{Field, fields};
use super::suggest::did_you_mean;
use super::template::TemplateError;

/// One line; displays as it was written.
#[derive(Debug, Clone)]
pub struct MetadataTag {
    written: String,
    pub kind: MetadataKind,
    /// Higher ones come first.
    pub priority: i64,
    /// Whether it counts at all; always, where None.
    pub enable: Option<Expression>,
    /// In the place of the flavor's, where there is one.
    pub prefix: Option<Expression>,
    pub suffix: Option<Expression>,
}

/// `type=…`, with the attributes that only this type has.
#[derive(Debug, Clone)]
pub enum MetadataKind {
    Schedule {
        pattern: Expression,
    },
    Semver(VersionRule),
    Pep440(VersionRule),
    Match {
        pattern: Pattern,
        group: usize,
        value: Option<Expression>,
    },
    /// `None`: the default branch.
    Edge {
        branch: Option<String>,
    },
    Branch,
    Tag,
    PullRequest,
    Raw {
        value: Expression,
    },
    Sha {
        long: bool,
    },
}

/// A version and what is made of it.
#[derive(Debug, Clone)]
pub struct VersionRule {
    pub pattern: Expression,
    /// Instead of the git tag.
    pub value: Option<Expression>,
    /// What of it is the version: the first group.
    pub matching: Option<Pattern>,
}

const TYPES: [&str; 8] = ["schedule", "semver", "pep440", "match", "edge", "ref", "raw", "sha"];
const ATTRIBUTES: [&str; 12] =
    ["type", "enable", "priority", "prefix", "suffix", "pattern", "value", "match", "group", "branch", "event", "format"];

impl MetadataTag {
    /// Whether an entry of a list of tags is such a line: neither a tag nor a template of brik's has an equals sign or double braces.
    pub fn is_one(text: &str) -> bool {
        text.contains('=') || text.contains("{{")
    }

    /// # Errors
    /// On what metadata-action refuses, and on attributes and expressions that it would pass over.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if let Some(at) = text.find("${{") {
            let help = "GitHub fills it in where the line stands in a workflow: pass it there, with --tags";
            return Err(TemplateError::new(at..at + 3, "this expression of GitHub Actions was not filled in", Some(help.to_owned())));
        }
        let attributes = Attributes { whole: text, fields: fields(text)? };
        attributes.check_names()?;
        let kind = attributes.kind()?;
        Ok(Self {
            priority: match attributes.get("priority") {
                None => default_priority(&kind),
                Some(field) => field.value.parse().map_err(|_| field.wrong("a priority is a whole number", None))?,
            },
            enable: attributes.global("enable")?,
            prefix: match attributes.global("prefix")? {
                None => default_prefix(&kind),
                given => given,
            },
            suffix: attributes.global("suffix")?,
            written: text.to_owned(),
            kind,
        })
    }
}

impl fmt::Display for MetadataTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn default_priority(kind: &MetadataKind) -> i64 {
    match kind {
        MetadataKind::Schedule { .. } => 1000,
        MetadataKind::Semver(_) | MetadataKind::Pep440(_) => 900,
        MetadataKind::Match { .. } => 800,
        MetadataKind::Edge { .. } => 700,
        MetadataKind::Branch | MetadataKind::Tag | MetadataKind::PullRequest => 600,
        MetadataKind::Raw { .. } => 200,
        MetadataKind::Sha { .. } => 100,
    }
}

fn default_prefix(kind: &MetadataKind) -> Option<Expression> {
    match kind {
        MetadataKind::PullRequest => Some(Expression::text("pr-")),
        MetadataKind::Sha { .. } => Some(Expression::text("sha-")),
        _ => None,
    }
}

struct Attributes<'a> {
    whole: &'a str,
    fields: Vec<Field<'a>>,
}

impl<'a> Attributes<'a> {
    /// The last one of a name counts.
    fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.fields.iter().rev().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Empty counts as absent.
    fn given(&self, name: &str) -> Option<&Field<'a>> {
        self.get(name).filter(|field| !field.value.is_empty())
    }

    fn needed(&self, name: &str) -> Result<&Field<'a>, TemplateError> {
        let missing = || TemplateError::new(0..self.whole.len(), format!("the attribute `{name}` is missing"), None);
        self.given(name).ok_or_else(missing)
    }

    fn check_names(&self) -> Result<(), TemplateError> {
        let unknown = self.fields.iter().find(|field| !ATTRIBUTES.iter().any(|known| field.name.eq_ignore_ascii_case(known)));
        unknown.map_or(Ok(()), |field| {
            let help = did_you_mean(field.name, ATTRIBUTES).unwrap_or_else(|| format!("known attributes: {}", ATTRIBUTES.join(" ")));
            Err(TemplateError::new(field.name_span.clone(), format!("unknown attribute `{}`", field.name), Some(help)))
        })
    }

    fn expression(&self, field: &Field, vocabulary: Vocabulary) -> Result<Expression, TemplateError> {
        Expression::parse(field.value, vocabulary).map_err(|error| error.moved(field.value_span.start))
    }

    fn global(&self, name: &str) -> Result<Option<Expression>, TemplateError> {
        self.get(name).map(|field| self.expression(field, Vocabulary::Global)).transpose()
    }

    fn value(&self) -> Result<Option<Expression>, TemplateError> {
        self.given("value").map(|field| self.expression(field, Vocabulary::Global)).transpose()
    }

    fn regex(&self, field: &Field) -> Result<Pattern, TemplateError> {
        Pattern::parse(field.value).map_err(|reason| field.wrong(&reason, None))
    }

    fn version(&self) -> Result<VersionRule, TemplateError> {
        Ok(VersionRule {
            pattern: self.expression(self.needed("pattern")?, Vocabulary::Version)?,
            value: self.value()?,
            matching: self.given("match").map(|field| self.regex(field)).transpose()?,
        })
    }

    fn kind(&self) -> Result<MetadataKind, TemplateError> {
        let Some(kind) = self.get("type") else {
            return Ok(MetadataKind::Raw { value: self.expression(self.needed("value")?, Vocabulary::Global)? });
        };
        let one_of = |field: &Field, what: &str, known: &[&str]| {
            let help = did_you_mean(field.value, known.iter().copied()).unwrap_or_else(|| format!("known are {}", known.join(" ")));
            field.wrong(&format!("unknown {what} `{}`", field.value), Some(help))
        };
        Ok(match kind.value {
            "schedule" => MetadataKind::Schedule {
                pattern: match self.get("pattern") {
                    Some(field) => self.expression(field, Vocabulary::Dates)?,
                    None => Expression::text("nightly"),
                },
            },
            "semver" => MetadataKind::Semver(self.version()?),
            "pep440" => MetadataKind::Pep440(self.version()?),
            "match" => MetadataKind::Match {
                pattern: self.regex(self.needed("pattern")?)?,
                group: match self.given("group") {
                    Some(field) => field.value.parse().map_err(|_| field.wrong("a group is a number", None))?,
                    None => 0,
                },
                value: self.value()?,
            },
            "edge" => MetadataKind::Edge { branch: self.given("branch").map(|field| field.value.to_owned()) },
            "ref" => match self.needed("event")? {
                Field { value: "branch", .. } => MetadataKind::Branch,
                Field { value: "tag", .. } => MetadataKind::Tag,
                Field { value: "pr", .. } => MetadataKind::PullRequest,
                other => return Err(one_of(other, "event", &["branch", "tag", "pr"])),
            },
            "raw" => MetadataKind::Raw { value: self.expression(self.needed("value")?, Vocabulary::Global)? },
            "sha" => match self.get("format") {
                None | Some(Field { value: "short", .. }) => MetadataKind::Sha { long: false },
                Some(Field { value: "long", .. }) => MetadataKind::Sha { long: true },
                Some(other) => return Err(one_of(other, "format", &["short", "long"])),
            },
            _ => return Err(one_of(kind, "type", &TYPES)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_with_its_defaults_and_displays_as_it_was_written() {
        for (line, priority) in [
            ("type=schedule", 1000),
            ("type=schedule,pattern={{date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}", 1000),
            ("type=semver,pattern={{version}}", 900),
            (r"type=semver,pattern={{version}},value=p1/v1.0.0,match=v(\d.\d.\d)$", 900),
            ("type=pep440,pattern={{ major }}.{{minor}}", 900),
            (r"type=match,pattern=/V(.*)/i,group=1", 800),
            ("type=edge", 700),
            ("type=edge,branch=main", 700),
            ("type=ref,event=branch", 600),
            ("type=ref,event=tag", 600),
            ("TYPE=ref , event=pr , prefix=", 600),
            ("type=raw,value=foo-{{branch}}-{{sha}}", 200),
            ("type=raw,foo", 200),
            ("{{branch}}", 200),
            ("type=sha", 100),
            ("type=sha,format=long,priority=9000,enable={{is_default_branch}}", 9000),
            (r#"type=schedule,"pattern={{date 'D, YYYY'}}""#, 1000),
        ] {
            let tag = MetadataTag::parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!((tag.to_string().as_str(), tag.priority), (line, priority));
            assert!(MetadataTag::is_one(line));
        }
    }

    #[test]
    fn what_is_wrong_names_the_bytes_and_the_fix() {
        for (line, part, reason, help) in [
            ("type=semvr,pattern=x", "semvr", "unknown type `semvr`", "did you mean `semver`?"),
            ("type=semver", "type=semver", "`pattern` is missing", ""),
            ("type=semver,pattern=", "type=semver,pattern=", "`pattern` is missing", ""),
            ("type=semver,patern=x", "patern", "unknown attribute `patern`", "did you mean `pattern`?"),
            ("type=semver,pattern={{versoin}}", "versoin", "unknown expression {{versoin}}", "did you mean `version`?"),
            ("type=raw,value={{version}}", "version", "unknown expression {{version}}", "type=semver,pattern={{version}}"),
            ("type=ref", "type=ref", "`event` is missing", ""),
            ("type=ref,event=pull", "pull", "unknown event `pull`", "branch tag pr"),
            ("type=sha,format=shrt", "shrt", "unknown format `shrt`", "did you mean `short`?"),
            ("type=sha,priority=high", "high", "a whole number", ""),
            ("type=match,pattern=v(", "v(", "regular expression", ""),
            ("type=match,pattern=v,group=x", "x", "a number", ""),
            ("type=raw,enable=true", "type=raw,enable=true", "`value` is missing", ""),
            ("type=raw,value=x,enable=${{ true }}", "${{", "GitHub Actions", "--tags"),
            ("type=raw,value={{branch", "{{branch", "never closed", ""),
            ("type=raw,value={{date}}", "{{date}}", "lacks its format", "YYYYMMDD"),
            ("type=raw,value={{date 'YYYY' tz='Mars/Base'}}", "Mars/Base", "no time zone", ""),
            ("type=raw,\"value=x", "\"value=x", "never closed", ""),
        ] {
            let error = MetadataTag::parse(line).expect_err(line);
            assert_eq!(&line[error.span.clone()], part, "{line}");
            assert!(error.reason.contains(reason), "{line}: {}", error.reason);
            assert!(error.help.clone().unwrap_or_default().contains(help), "{line}: {:?}", error.help);
        }
    }
}
