//! A finding in a line that is too long to be drawn: the text around it, at its true line and column.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan, MietteError, MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents};

use crate::config::{Finding, Location};

/// Longer lines are cut (bytes). miette panics where a label begins beyond column 65,535, and nobody reads that far.
const LONGEST: usize = 2000;
/// What is left of a line that is cut, before and after the place that it is cut around (bytes).
const BEFORE: usize = 40;
const AFTER: usize = 80;
/// Stands where something was cut off.
const CUT: &str = "…";

#[derive(Debug, thiserror::Error)]
#[error("{finding}")]
pub struct Excerpt<'f> {
    finding: &'f Finding,
    file: &'f str,
    /// The lines that are drawn, cut.
    text: String,
    /// What the finding is about, in `text`.
    span: Range<usize>,
    /// Where `text` begins, and the finding, in the file; from 0.
    line: usize,
    column: usize,
}

impl<'f> Excerpt<'f> {
    /// `None` where nothing has to be cut.
    pub fn of(finding: &'f Finding) -> Option<Self> {
        let Location { source, span } = finding.location.as_ref()?;
        let text = &*source.text;
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end).max(start);
        let lines = with_neighbours(text, start..end);
        if text[lines.clone()].split('\n').all(|line| line.len() <= LONGEST) {
            return None;
        }
        let mut cut = String::new();
        let (mut from, mut to, mut at) = (0, 0, lines.start);
        for line in text[lines.clone()].split_inclusive('\n') {
            let past = at + line.len();
            let here = |place: usize| (at..past).contains(&place) || place == past && past == text.len();
            let focus = [start, end].into_iter().find(|place| here(*place)).map_or(0, |place| place - at);
            let kept = kept(line, focus);
            let before = if kept.start > 0 { CUT } else { "" };
            let place = |place: usize| cut.len() + before.len() + (place - at).clamp(kept.start, kept.end) - kept.start;
            // The line in which they stand is the last that begins before them.
            from = if start >= at { place(start) } else { from };
            to = if end >= at { place(end) } else { to };
            let (left, newline) = match line[kept.end..].strip_suffix('\n') {
                Some(left) => (left, "\n"),
                None => (&line[kept.end..], ""),
            };
            let after = if left.is_empty() { "" } else { CUT };
            cut.extend([before, &line[kept], after, newline]);
            at = past;
        }
        let (line, column) = (text[..lines.start].matches('\n').count(), source.position(start).1 - 1);
        Some(Self { finding, file: &source.name, text: cut, span: from..to, line, column })
    }
}

/// The lines of a span and the one before and after, as miette draws them.
fn with_neighbours(text: &str, span: Range<usize>) -> Range<usize> {
    let begin = |place: usize| text[..place].rfind('\n').map_or(0, |newline| newline + 1);
    let end = |place: usize| text[place..].find('\n').map_or(text.len(), |newline| place + newline + 1);
    let first = begin(span.start);
    begin(first.saturating_sub(1))..end(end(span.end))
}

/// What is kept of a line that is cut around `focus`.
fn kept(line: &str, focus: usize) -> Range<usize> {
    if line.trim_end_matches('\n').len() <= LONGEST {
        return 0..line.len();
    }
    line.floor_char_boundary(focus.saturating_sub(BEFORE))..line.trim_end_matches('\n').floor_char_boundary(focus + AFTER)
}

impl SourceCode for Excerpt<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text.read_span(span, lines_before, lines_after)?;
        let column = if inner.column() == 0 { 0 } else { self.column };
        let (name, line) = (self.file.to_owned(), self.line + inner.line());
        Ok(Box::new(MietteSpanContents::new_named(name, inner.data(), *inner.span(), line, column, inner.line_count())))
    }
}

impl Diagnostic for Excerpt<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.finding.code()
    }

    fn severity(&self) -> Option<Severity> {
        Diagnostic::severity(self.finding)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Diagnostic::help(self.finding)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_primary_with_span(None, self.span.clone()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::render_all;
    use crate::config::Source;

    fn drawn(text: &str, span: Range<usize>) -> String {
        let mut out = String::new();
        render_all(&mut out, &[Finding::error("brik::config::test", "wrong").help("right").at(Source::new("brik.toml", text).at(span))]);
        out
    }

    #[test]
    fn a_long_line_is_cut_around_what_is_wrong_in_it() {
        let text = format!("first\na = [{}7, {}]\nlast\n", "\"é\",".repeat(40_000), "8, ".repeat(1000));
        let at = text.find('7').unwrap();
        let drawn = drawn(&text, at..at + 1);
        for part in ["brik::config::test", "wrong", "brik.toml:2:160006", "1 │ first", "\"é\",7, 8, 8", "3 │ last", "right"] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        let line = drawn.lines().find(|line| line.contains("2 │")).unwrap();
        let mark = drawn.lines().find(|line| line.contains('─') && line.contains('·')).unwrap();
        let column = |line: &str, what: char| line.chars().position(|c| c == what);
        assert_eq!(column(line, '7'), column(mark, '─'), "{drawn}");
        assert!(line.contains("│ …") && line.ends_with('…') && line.len() < 200, "{drawn}");
    }

    #[test]
    fn short_lines_are_drawn_as_they_are() {
        let finding = Finding::error("brik::config::test", "wrong");
        assert!(Excerpt::of(&finding).is_none());
        for (text, span) in [("a = 1\n", 0..1), ("", 0..0), ("a", 7..9), (&"a\n".repeat(LONGEST), 1..LONGEST)] {
            assert!(Excerpt::of(&finding.clone().at(Source::new("x", text).at(span))).is_none(), "{text}");
        }
    }

    #[test]
    fn nothing_that_stands_far_right_is_a_panic() {
        let long = 70_000;
        for filler in ["\t", " ", "é", "字", "\u{1b}", "\r", "a\n\t"] {
            let filled = filler.repeat(long / filler.len());
            for text in
                [format!("{filled}x"), format!("{filled}x{filled}"), format!("a\r\n{filled}x\r\n{filled}\nb"), format!("x\n{filled}")]
            {
                let x = text.find('x').unwrap();
                let spans = [x..x + 1, x..x, 0..text.len(), x..text.len(), 0..x, text.len()..text.len(), 1..1, 3..long, long..3 * long];
                for span in spans {
                    assert!(drawn(&text, span.clone()).contains("wrong"), "{filler:?} {span:?}");
                }
            }
        }
    }
}
