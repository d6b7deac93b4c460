//! One instruction after the other: lines, bodies of here-documents and what they say.

use std::borrow::Cow;

use super::arguments::Fragment;
use super::ast::{Heredoc, Instruction, Stage, Statement};
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
}

pub(super) struct Fault {
    pub error: SyntaxError,
    /// Whether the instruction is a FROM.
    pub in_from: bool,
}

pub(super) struct Reader<'a> {
    pub lines: Lines<'a>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, not_utf8: Vec<Span>) -> Self {
        Self { lines: Lines::new(text, not_utf8) }
    }

    pub fn next_item(&mut self) -> Option<Result<Item, Fault>> {
        let line = self.lines.next_line()?;
        let heredocs = match self.heredocs(&line) {
            Ok(heredocs) => heredocs,
            Err(error) => return Some(Err(Fault { error, in_from: false })),
        };
        let parts = Parts::of(Fragment::whole(&line));
        let keyword = parts.keyword.word();
        let span = Span::new(keyword.span.start, self.lines.end().max(keyword.span.end));
        let statement = Statement {
            keyword,
            text: line.text.trim().to_owned(),
            span,
            lines: (line.first_line, self.lines.number()),
            comments: line.comments.clone(),
            empty_continuations: line.empty_continuations.clone(),
            last_line: line.last_line,
        };
        let in_from = parts.name().is_ok_and(|name| name == "FROM");
        let item = Request::new(parts, &heredocs, self.lines.directives.escape_char()).and_then(|request| {
            if in_from {
                parse_from(&request, statement).map(|stage| Item::From(Box::new(stage)))
            } else {
                parse_kind(&request, &statement).map(|kind| Item::Instruction(Box::new(Instruction { kind, statement })))
            }
        });
        Some(item.map_err(|error| Fault { error, in_from }))
    }

    /// The bodies that follow the line. They are read even if the instruction turns out to be wrong.
    fn heredocs(&mut self, line: &LogicalLine) -> Result<Vec<Heredoc>, SyntaxError> {
        let whole = Fragment::whole(line);
        if !line.text.contains("<<") || !Parts::of(whole).may_have_heredocs() {
            return Ok(Vec::new());
        }
        let announced = announcements(&line.text).map_err(|error| whole.error(error.into()))?;
        Ok(announced.into_iter().filter_map(|announced| self.lines.heredoc(announced, whole.span())).collect())
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
