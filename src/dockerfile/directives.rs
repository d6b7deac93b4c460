//! Parser directives: `# key=value` comments before everything else in the file.

use super::ast::Word;
use super::{Span, SyntaxError, SyntaxErrorKind};

/// The directives of a file. Values have no white space around them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the frontend image that the file asks for.
    pub syntax: Option<Word>,
    /// `# escape=`: `` ` `` or `\`.
    pub escape: Option<Word>,
    /// `# check=`: options of the build checks.
    pub check: Option<Word>,
}

impl Directives {
    /// The escape character in force.
    pub fn escape_char(&self) -> char {
        self.escape.as_ref().and_then(|word| word.text.chars().next()).unwrap_or('\\')
    }

    /// Reads a comment (from its `#`) that stands at byte `start` and may be a directive; tells whether it is one.
    pub(super) fn read(&mut self, comment: &str, start: usize) -> Result<bool, SyntaxError> {
        let Some((key, value)) = key_value(comment) else { return Ok(false) };
        let (name, slot) = match key.to_ascii_lowercase().as_str() {
            "syntax" => ("syntax", &mut self.syntax),
            "escape" => ("escape", &mut self.escape),
            "check" => ("check", &mut self.check),
            _ => return Ok(false),
        };
        let at = start + (value.as_ptr().addr() - comment.as_ptr().addr());
        let word = Word { text: value.to_owned(), span: Span::new(at, at + value.len()) };
        let span = word.span;
        if slot.is_some() {
            return Err(SyntaxError::new(SyntaxErrorKind::DuplicateDirective { name }, span));
        }
        if name == "escape" && !matches!(value, "`" | "\\") {
            return Err(SyntaxError::new(SyntaxErrorKind::InvalidEscape { token: value.to_owned() }, span));
        }
        *slot = Some(word);
        Ok(true)
    }
}

/// The value, if a comment (without its `#`) reads like a check directive: above an instruction it speaks about that one.
pub(super) fn check_of_comment(text: &str) -> Option<&str> {
    pair(text).filter(|(key, _)| key.eq_ignore_ascii_case("check")).map(|(_, value)| value)
}

/// `# key = value`, where the key starts with a letter and goes on with letters and digits.
fn key_value(comment: &str) -> Option<(&str, &str)> {
    pair(comment.strip_prefix('#')?)
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    let key = key.trim_start().trim_end_matches(SPACE);
    let mut bytes = key.bytes();
    let valid = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic()) && bytes.all(|byte| byte.is_ascii_alphanumeric());
    let trimmed = value.trim_matches(SPACE);
    // A value of white space only is its last character, as BuildKit's expression has it.
    let value = if trimmed.is_empty() { value.char_indices().next_back().map(|(at, _)| &value[at..]) } else { Some(trimmed) };
    valid.then_some((key, value?))
}

/// The white space of Go's `\s`.
const SPACE: [char; 5] = [' ', '\t', '\n', '\u{c}', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_the_form_key_value_are_directives() {
        let cases = [
            ("# escape=`", Some(("escape", "`"))),
            ("#ESCAPE = \\  ", Some(("ESCAPE", "\\"))),
            ("# syntax=docker/dockerfile:1 x", Some(("syntax", "docker/dockerfile:1 x"))),
            ("# check=skip=all;error=true", Some(("check", "skip=all;error=true"))),
            ("# escape=", None),
            ("# escape= ", Some(("escape", " "))),
            ("# 1a=b", None),
            ("# a b=c", None),
            ("#!/bin/sh x=y", None),
            ("#", None),
        ];
        for (comment, expected) in cases {
            assert_eq!(key_value(comment), expected, "{comment}");
        }
    }
}
