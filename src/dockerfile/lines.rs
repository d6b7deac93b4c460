//! From bytes to logical lines: comments, directives, continuations and the bodies of here-documents.

use std::ops::Range;

use super::ast::Comment;
use super::directives::Directives;
use super::error::Faults;
use super::heredoc::{Announcement, Heredoc};
use super::{Span, SyntaxErrorKind};

/// BuildKit's limit for a physical line, in bytes without the line feed.
const MAX_LINE: usize = 65_535;

/// An instruction's lines, joined: escapes and line feeds at the ends are gone, comments and empty lines in between too.
#[derive(Debug)]
pub(super) struct LogicalLine {
    pub text: String,
    /// Where in the text each physical line begins, and where in the file.
    pieces: Vec<(usize, usize)>,
    pub first_line: usize,
    pub empty_continuations: Vec<Span>,
    /// The last physical line, empty or a comment as it may be.
    pub last_line: Span,
    /// The comments above.
    pub comments: Vec<Comment>,
}

impl LogicalLine {
    /// The bytes of the file that a range of the text comes from.
    pub fn span(&self, range: Range<usize>) -> Span {
        let locate = |at: usize| {
            let piece = self.pieces.partition_point(|(begin, _)| *begin <= at).saturating_sub(1);
            self.pieces.get(piece).map_or(0, |(begin, source)| source + (at - begin))
        };
        let start = locate(range.start);
        let end = if range.is_empty() { start } else { locate(range.end - 1) + 1 };
        Span::new(start, end)
    }

    fn push(&mut self, text: &str, source: usize) {
        self.pieces.push((self.text.len(), source));
        self.text.push_str(text);
    }
}

/// One line of the file.
struct PhysicalLine<'a> {
    /// Without carriage returns and line feed at its end.
    text: &'a str,
    span: Span,
}

impl<'a> PhysicalLine<'a> {
    /// The text from its first character that is not white space, and where that is.
    fn trimmed(&self) -> (&'a str, usize) {
        let trimmed = self.text.trim_start();
        (trimmed, self.span.start + self.text.len() - trimmed.len())
    }
}

pub(super) struct Lines<'a> {
    text: &'a str,
    /// Bytes that were no UTF-8, replaced in the text; sorted.
    not_utf8: Vec<Span>,
    position: usize,
    number: usize,
    may_be_directive: bool,
    pub directives: Directives,
    comments: Vec<Comment>,
    pub faults: Faults,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str, not_utf8: Vec<Span>) -> Self {
        let position = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self {
            text,
            not_utf8,
            position,
            number: 0,
            may_be_directive: true,
            directives: Directives::default(),
            comments: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// The next instruction's line.
    pub fn next_line(&mut self) -> Option<LogicalLine> {
        loop {
            let line = self.physical()?;
            let (text, start) = line.trimmed();
            if text.starts_with('#') {
                self.comment(text, start);
                continue;
            }
            self.may_be_directive = false;
            if text.is_empty() {
                continue;
            }
            self.require_utf8(line.span);
            let mut logical = LogicalLine {
                text: String::new(),
                pieces: Vec::new(),
                first_line: self.number,
                empty_continuations: Vec::new(),
                last_line: line.span,
                comments: std::mem::take(&mut self.comments),
            };
            let mut continued = continuation(text, self.directives.escape_char());
            logical.push(continued.unwrap_or(text), start);
            while continued.is_some() {
                let Some(line) = self.physical() else { break };
                logical.last_line = line.span;
                let (trimmed, _) = line.trimmed();
                if trimmed.starts_with('#') {
                    continue;
                }
                if trimmed.is_empty() {
                    logical.empty_continuations.push(line.span);
                    continue;
                }
                self.require_utf8(line.span);
                continued = continuation(line.text, self.directives.escape_char());
                logical.push(continued.unwrap_or(line.text), line.span.start);
            }
            return Some(logical);
        }
    }

    /// The body that follows. The file's end without a terminator is a fault of the announcement.
    pub fn heredoc(&mut self, announced: Announcement, announced_at: Span) -> Option<Heredoc> {
        let Announcement { name, expand, chomp } = announced;
        let start = self.position;
        loop {
            let end = self.position;
            let Some(line) = self.physical() else {
                self.faults.add(SyntaxErrorKind::UnterminatedHeredoc { name }, announced_at);
                return None;
            };
            let text = if chomp { line.text.trim_start_matches('\t') } else { line.text };
            if text == name {
                return Some(Heredoc { name, expand, chomp, content: self.text[start..end].to_owned(), span: Span::new(start, end) });
            }
            self.require_utf8(line.span);
        }
    }

    /// The end of the line read last, without the line feed.
    pub fn end(&self) -> usize {
        let read = &self.text[..self.position];
        read.strip_suffix('\n').unwrap_or(read).trim_end_matches('\r').len()
    }

    /// The number of the line read last.
    pub fn number(&self) -> usize {
        self.number
    }

    fn physical(&mut self) -> Option<PhysicalLine<'a>> {
        let rest = &self.text[self.position..];
        if rest.is_empty() {
            return None;
        }
        let length = rest.find('\n').unwrap_or(rest.len());
        let span = Span::new(self.position, self.position + length);
        if length > MAX_LINE {
            self.faults.add(SyntaxErrorKind::LineTooLong { limit: MAX_LINE }, span);
        }
        self.position = (span.end + 1).min(self.text.len());
        self.number += 1;
        Some(PhysicalLine { text: rest[..length].trim_end_matches('\r'), span })
    }

    fn comment(&mut self, text: &str, start: usize) {
        if self.may_be_directive {
            match self.faults.keep(self.directives.read(text, start)) {
                Some(true) => return,
                Some(false) => self.may_be_directive = false,
                None => {}
            }
        }
        let comment = text[1..].trim();
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(Comment { text: comment.to_owned(), span: Span::new(start, start + text.len()) });
        }
    }

    fn require_utf8(&mut self, line: Span) {
        let first = self.not_utf8.partition_point(|bad| bad.end <= line.start);
        if let Some(bad) = self.not_utf8.get(first).filter(|bad| bad.start < line.end) {
            self.faults.add(SyntaxErrorKind::NotUtf8, *bad);
        }
    }
}

/// The line without its escape at the end, if it goes on in the next line. An escape before the escape prevents that.
fn continuation(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(file: &str) -> Vec<String> {
        let mut lines = Lines::new(file, Vec::new());
        std::iter::from_fn(|| lines.next_line()).map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_joined_as_buildkit_joins_them() {
        let cases: &[(&str, &[&str])] = &[
            ("a b\r\n  c\n\n", &["a b", "c"]),
            ("\u{feff}a\n", &["a"]),
            ("a \\\n   b\n", &["a    b"]),
            ("a\\  \t\n# c\n   # d\n\nb", &["ab"]),
            ("a \\\\\nb", &["a \\\\", "b"]),
            ("a \\\\\\\nb", &["a \\\\\\", "b"]),
            ("a \\\r\n b\r\n", &["a  b"]),
            ("a \\", &["a "]),
            ("# escape=`\na `\nb\\\nc", &["a b\\", "c"]),
            ("# x\n# escape=`\na \\\nb", &["a b"]),
            ("\n# escape=`\na \\\nb", &["a b"]),
            ("  # ESCAPE = `\na `\nb", &["a b"]),
        ];
        for (file, expected) in cases {
            assert_eq!(texts(file), *expected, "{file:?}");
        }
    }

    #[test]
    fn spans_point_into_the_file_across_continuations() {
        let file = "\u{feff}# c\n  RUN a \\\n# x\n\n  b\\\n c\n";
        let mut lines = Lines::new(file, Vec::new());
        let line = lines.next_line().unwrap();
        assert_eq!(line.text, "RUN a   b c");
        let found = |text: &str| {
            let at = line.text.find(text).unwrap();
            &file[line.span(at..at + text.len()).range()]
        };
        assert_eq!([found("RUN"), found("a"), found("b c")], ["RUN", "a", "b\\\n c"]);
        assert_eq!((line.first_line, lines.number(), line.empty_continuations.len(), line.comments.len()), (2, 6, 1, 1));
    }

    #[test]
    fn directives_that_repeat_or_make_no_sense_are_errors() {
        for file in ["# escape=`\n# escape=`\n", "# syntax=a\n# SYNTAX=b", "# escape=x"] {
            let mut lines = Lines::new(file, Vec::new());
            assert!(lines.next_line().is_none());
            assert_eq!(lines.faults.into_sorted().len(), 1, "{file:?}");
        }
    }

    #[test]
    fn a_line_of_64_kib_is_too_long() {
        let errors = |length: usize| {
            let file = "a".repeat(length) + "\nb";
            let mut lines = Lines::new(&file, Vec::new());
            while lines.next_line().is_some() {}
            lines.faults.into_sorted().len()
        };
        assert_eq!((errors(65_535), errors(65_536)), (0, 1));
    }
}
