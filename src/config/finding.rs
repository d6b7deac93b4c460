//! Findings: what brik has to say about the user's files, each pointing at the bytes that it is about.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use miette::{Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::source::mask_credentials;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
    Advice,
}

/// A text that findings point into: a file, or what a flag or a variable said.
#[derive(Clone)]
pub struct Source {
    /// As the user would name it: `services/api/Dockerfile`, `--set`, `$BRIK_TAGS`.
    pub name: Arc<str>,
    pub text: Arc<str>,
    /// The text with credentials masked, once somebody has asked: a file may have thousands of findings.
    shown: Arc<OnceLock<Arc<str>>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for Source {}

/// Bytes of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub source: Source,
    /// Byte offsets into the source's text.
    pub span: Range<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// `brik::<room>::<what>`; stable, so that scripts may match on it.
    pub code: &'static str,
    pub severity: Severity,
    pub message: String,
    /// The fix, where there is one.
    pub help: Option<Box<str>>,
    /// None where no text is to blame (no brik.toml at all).
    pub location: Option<Location>,
}

/// One or more findings, in the order in which they should be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", summary(.0))]
pub struct Findings(pub Vec<Finding>);

impl Source {
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into(), shown: Arc::default() }
    }

    /// The same with credentials masked. Every byte stays where it is.
    fn shown(&self) -> Self {
        let masked = || match self.text.contains("://") || self.text.contains('@') {
            true => mask_credentials(&self.text).into(),
            false => Arc::clone(&self.text),
        };
        let text = self.shown.get_or_init(masked);
        Self { name: Arc::clone(&self.name), text: Arc::clone(text), shown: Arc::clone(&self.shown) }
    }

    pub fn at(&self, span: Range<usize>) -> Location {
        Location { source: self.clone(), span }
    }

    /// Line and column of a byte offset, both from 1; columns count characters. An offset past the end is the end.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl Finding {
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, message)
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, message)
    }

    /// Credentials in the message are masked.
    pub fn new(code: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        Self { code, severity, message: mask_credentials(&message.into()), help: None, location: None }
    }

    /// Credentials in the text are masked.
    pub fn at(self, Location { source, span }: Location) -> Self {
        Self { location: Some(Location { source: source.shown(), span }), ..self }
    }

    /// Credentials in the help are masked.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(mask_credentials(&help.into()).into()), ..self }
    }

    /// `brik.toml:3:1: unknown key …`, as compilers and grep write it; the message alone without a location.
    pub fn one_line(&self) -> String {
        let Some(Location { source, span }) = &self.location else { return self.message.clone() };
        let (line, column) = source.position(span.start);
        format!("{}:{line}:{column}: {}", source.name, self.message)
    }

    /// Adds help where there is some to give.
    pub fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

impl Findings {
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

fn summary(findings: &[Finding]) -> String {
    match findings {
        [] => "no findings".to_owned(),
        [one] => one.one_line(),
        [first, rest @ ..] => format!("{} (and {} more)", first.one_line(), rest.len()),
    }
}

/// The message alone; whoever draws the location needs no more.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Finding {}

/// The text itself would drown what one wants to see.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.name)
    }
}

#[derive(serde::Serialize)]
struct Position {
    line: usize,
    column: usize,
}

/// `{code, severity, message, help, file, line, column, end: {line, column}}`; the last four are absent without a location.
impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Finding", 8)?;
        object.serialize_field("code", self.code)?;
        object.serialize_field("severity", &self.severity)?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("help", &self.help)?;
        if let Some(Location { source, span }) = &self.location {
            let (line, column) = source.position(span.start);
            let (end_line, end_column) = source.position(span.end);
            object.serialize_field("file", &*source.name)?;
            object.serialize_field("line", &line)?;
            object.serialize_field("column", &column)?;
            object.serialize_field("end", &Position { line: end_line, column: end_column })?;
        }
        object.end()
    }
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = (*self.text).read_span(span, lines_before, lines_after)?;
        let (data, line, count) = (inner.data(), inner.line(), inner.line_count());
        // miette counts bytes; everything else that shows a column counts characters.
        let column = if inner.column() == 0 { 0 } else { self.position(span.offset()).1 - 1 };
        Ok(Box::new(MietteSpanContents::new_named(self.name.to_string(), data, *inner.span(), line, column, count)))
    }
}

/// Rendered by `cli`.
impl Diagnostic for Finding {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Advice => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.location.as_ref().map(|location| &location.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.location.as_ref()?.span.clone();
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, span))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding() -> Finding {
        let source = Source::new("brik.toml", "a = 1\né = \"ü\"\n");
        Finding::error("brik::config::test", "wrong").help("right").at(source.at(11..15))
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = finding().location.unwrap().source;
        for (offset, position) in [(0, (1, 1)), (4, (1, 5)), (6, (2, 1)), (8, (2, 2)), (11, (2, 5)), (7, (2, 1)), (999, (3, 1))] {
            assert_eq!(source.position(offset), position, "{offset}");
        }
    }

    #[test]
    fn json_has_the_place_in_lines_and_columns() {
        let json = serde_json::to_string(&finding()).unwrap();
        assert_eq!(
            json,
            r#"{"code":"brik::config::test","severity":"error","message":"wrong","help":"right","file":"brik.toml","line":2,"column":5,"end":{"line":2,"column":8}}"#
        );
        let json = serde_json::to_string(&Finding::warning("c", "m")).unwrap();
        assert_eq!(json, r#"{"code":"c","severity":"warning","message":"m","help":null}"#);
    }

    #[test]
    fn miette_draws_the_name_the_line_and_the_help() {
        let mut out = String::new();
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
        handler.render_report(&mut out, &finding()).unwrap();
        for part in ["brik::config::test", "wrong", "brik.toml:2:5", "é = \"ü\"", "help: right"] {
            assert!(out.contains(part), "{part} in {out}");
        }
        assert!(!out.contains("brik.toml:2:5: wrong"), "the place is drawn once: {out}");
        assert_eq!(finding().one_line(), "brik.toml:2:5: wrong");
    }
}
