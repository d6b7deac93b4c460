//! One instruction after the other: lines, bodies of here-documents and what they say.

use std::borrow::Cow;
use std::mem::take;

use super::arguments::Fragment;
use super::ast::{Directives, Heredoc, Instruction, Stage, Statement};
use super::error::Faults;
use super::heredoc::announcements;
use super::instruction::parse_kind;
use super::lines::{Lines, LogicalLine};
use super::request::{Parts, Request};
use super::stage::parse_from;
use super::{Span, SyntaxError, SyntaxErrorKind};

/// The largest Dockerfile that is read, in bytes.
pub(super) const MAX_FILE: usize = 16 << 20;

pub(super) enum Item {
    From(Box<Stage>),
    Instruction(Box<Instruction>),
    /// An instruction that cannot be read, as the faults tell.
    Unreadable {
        in_from: bool,
    },
}

pub(super) struct Reader<'a> {
    lines: Lines<'a>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, not_utf8: Vec<Span>) -> Self {
        Self { lines: Lines::new(text, not_utf8) }
    }

    /// The directives, once an instruction was read or there is none; and what was wrong so far.
    pub fn finish(self) -> (Directives, Faults) {
        (self.lines.directives, self.lines.faults)
    }

    pub fn faults(&mut self) -> &mut Faults {
        &mut self.lines.faults
    }

    /// The next instruction. There is none either where so much is wrong that the rest is not looked at.
    pub fn next_item(&mut self) -> Option<Item> {
        if self.lines.faults.are_too_many() {
            return None;
        }
        let mut line = self.lines.next_line()?;
        let (comments, empty_continuations) = (take(&mut line.comments), take(&mut line.empty_continuations));
        let parts = Parts::of(Fragment::whole(&line));
        let heredocs = self.heredocs(&line, &parts);
        let keyword = parts.keyword.word();
        let span = Span::new(keyword.span.start, self.lines.end().max(keyword.span.end));
        let statement = Statement {
            keyword,
            text: line.text.trim().to_owned(),
            span,
            lines: (line.first_line, self.lines.number()),
            comments,
            empty_continuations,
            last_line: line.last_line,
        };
        let in_from = parts.name == Some("FROM");
        let faults = &mut self.lines.faults;
        let item = faults.keep(Request::new(parts, &heredocs, self.lines.directives.escape_char())).and_then(|request| {
            if in_from {
                parse_from(&request, statement, faults).map(|stage| Item::From(Box::new(stage)))
            } else {
                parse_kind(&request, &statement, faults).map(|kind| Item::Instruction(Box::new(Instruction { kind, statement })))
            }
        });
        Some(item.unwrap_or(Item::Unreadable { in_from }))
    }

    /// The bodies that follow the line. They are read even if the instruction turns out to be wrong.
    fn heredocs(&mut self, line: &LogicalLine, parts: &Parts<'_>) -> Vec<Heredoc> {
        if !line.text.contains("<<") || !parts.may_have_heredocs() {
            return Vec::new();
        }
        let announced = announcements(&line.text).map_err(|(error, range)| SyntaxError::new(error.into(), line.span(range)));
        let announced = self.lines.faults.keep(announced).unwrap_or_default();
        announced.into_iter().filter_map(|(announced, range)| self.lines.heredoc(announced, line.span(range))).collect()
    }
}

/// The text, with `?` for each byte that is no UTF-8, so that offsets stay; and where those bytes are.
pub(super) fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, Vec<Span>), Vec<SyntaxError>> {
    if bytes.len() > MAX_FILE {
        let kind = SyntaxErrorKind::FileTooLarge { size: bytes.len(), limit: MAX_FILE };
        return Err(vec![SyntaxError::new(kind, Span::new(MAX_FILE, bytes.len()))]);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok((Cow::Borrowed(text), Vec::new()));
    }
    let mut text = String::with_capacity(bytes.len());
    let mut not_utf8 = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        let bad = chunk.invalid();
        if !bad.is_empty() {
            not_utf8.push(Span::new(text.len(), text.len() + bad.len()));
            text.extend(std::iter::repeat_n('?', bad.len()));
        }
    }
    Ok((Cow::Owned(text), not_utf8))
}
