//! Cutting an instruction's text into keyword, flags and arguments, in the ways that the instructions differ.

use std::ops::Range;

use super::ast::{KeyValue, Word};
use super::error::Faults;
use super::json::{JsonForm, read_array};
use super::lines::LogicalLine;
use super::{Span, SyntaxError, SyntaxErrorKind};

/// A part of a logical line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    line: &'a LogicalLine,
    start: usize,
    end: usize,
}

impl<'a> Fragment<'a> {
    pub fn whole(line: &'a LogicalLine) -> Self {
        Self { line, start: 0, end: line.text.len() }
    }

    pub fn text(&self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub fn span(&self) -> Span {
        self.line.span(self.start..self.end)
    }

    pub fn slice(&self, range: Range<usize>) -> Self {
        Self { start: self.start + range.start, end: self.start + range.end, ..*self }
    }

    /// From here to the end of the line, white space included.
    pub fn rest_of_line(&self) -> &'a str {
        &self.line.text[self.start..]
    }

    pub fn trim(&self) -> Self {
        let text = self.text();
        let start = text.len() - text.trim_start().len();
        self.slice(start..start + text.trim().len())
    }

    /// The text as it stands.
    pub fn word(&self) -> Word {
        Word { text: self.text().to_owned(), span: self.span() }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn error(&self, kind: SyntaxErrorKind) -> SyntaxError {
        SyntaxError::new(kind, self.span())
    }

    /// The part before the first run of separators, and the part after it, if there is such a run.
    pub fn split_first(&self) -> (Self, Option<Self>) {
        let text = self.text();
        let Some(at) = text.find(SEPARATORS) else { return (*self, None) };
        let after = text.len() - text[at..].trim_start_matches(SEPARATORS).len();
        (self.slice(0..at), Some(self.slice(after..text.len())))
    }

    /// The words between runs of separators; no quotes.
    pub fn split_whitespace(&self) -> Vec<Word> {
        let mut words = Vec::new();
        let mut rest = if self.is_empty() { None } else { Some(*self) };
        while let Some(fragment) = rest {
            let (word, after) = fragment.split_first();
            words.push(word.word());
            rest = after;
        }
        words
    }

    /// The words between white space that neither quotes nor the escape protect. Quotes and escapes stay.
    pub fn split_quoted(&self, escape: char) -> Vec<Word> {
        let mut words = Vec::new();
        let mut word: Option<(usize, String)> = None;
        let mut quote = None;
        let mut chars = self.text().char_indices();
        while let Some((at, char)) = chars.next() {
            if quote.is_none() && char.is_whitespace() {
                words.extend(word.take().map(|word| self.quoted_word(word, at)));
                continue;
            }
            let (_, text) = word.get_or_insert_with(|| (at, String::new()));
            if char == escape && quote != Some('\'') {
                // An escape at the very end is dropped.
                let Some((_, next)) = chars.next() else { break };
                text.extend([char, next]);
                continue;
            }
            match quote {
                Some(open) if open == char => quote = None,
                None if matches!(char, '\'' | '"') => quote = Some(char),
                _ => {}
            }
            text.push(char);
        }
        words.extend(word.map(|word| self.quoted_word(word, self.text().len())));
        words.retain(|word| !word.text.is_empty());
        words
    }

    fn quoted_word(&self, (start, text): (usize, String), end: usize) -> Word {
        Word { text, span: self.slice(start..end).span() }
    }

    /// The strings of the JSON form, or `None` if this is not in JSON form.
    pub fn json(&self) -> Result<Option<Vec<Word>>, SyntaxError> {
        match read_array(self.text()) {
            JsonForm::NotJson => Ok(None),
            JsonForm::NotStrings => Err(self.error(SyntaxErrorKind::NotStringArray)),
            JsonForm::Strings(found) => {
                Ok(Some(found.into_iter().map(|(text, range)| Word { text, span: self.slice(range).span() }).collect()))
            }
        }
    }

    /// `KEY=value …`, or the old form `KEY the rest`.
    pub fn key_values(&self, instruction: &'static str, escape: char, faults: &mut Faults) -> Option<Vec<KeyValue>> {
        let words = self.split_quoted(escape);
        let Some(first) = words.first() else {
            faults.add(SyntaxErrorKind::AtLeastOneArgument { instruction }, self.span());
            return None;
        };
        if !first.text.contains('=') {
            let (key, Some(value)) = self.split_first() else {
                faults.add(SyntaxErrorKind::TwoArguments { instruction }, self.span());
                return None;
            };
            return Some(vec![KeyValue { key: key.word(), value: value.word(), legacy: true }]);
        }
        let mut pairs = Vec::new();
        for word in words {
            match split_word(&word, '=') {
                None => faults.add(SyntaxErrorKind::NoEqualsSign { word: word.text }, word.span),
                Some((key, _)) if key.text.is_empty() => faults.add(SyntaxErrorKind::BlankName { instruction }, word.span),
                Some((key, value)) => pairs.push(KeyValue { key, value, legacy: false }),
            }
        }
        Some(pairs)
    }
}

/// The white space between an instruction's parts in BuildKit's splitting.
const SEPARATORS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// Cuts a word at the first `separator`. Spans are exact unless the word lies across lines.
pub(super) fn split_word(word: &Word, separator: char) -> Option<(Word, Word)> {
    let (left, right) = word.text.split_once(separator)?;
    let (left_span, right_span) = if word.span.len() == word.text.len() {
        let middle = word.span.start + left.len();
        (Span::new(word.span.start, middle), Span::new(middle + separator.len_utf8(), word.span.end))
    } else {
        (word.span, word.span)
    };
    Some((Word { text: left.to_owned(), span: left_span }, Word { text: right.to_owned(), span: right_span }))
}

/// Takes the leading `--flag` words, without their quotes and escapes (always `\`), and gives the rest.
pub(super) fn take_flags(arguments: Fragment<'_>) -> (Vec<Word>, Fragment<'_>) {
    let text = arguments.text();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, arguments.slice(at..text.len()).trim());
        }
        let mut word = String::new();
        let mut quote = None;
        let mut end = text.len();
        let mut chars = text[at..].char_indices();
        while let Some((offset, char)) = chars.next() {
            match quote {
                None if char.is_whitespace() => {
                    end = at + offset;
                    break;
                }
                None if matches!(char, '\'' | '"') => quote = Some(char),
                Some(open) if open == char => quote = None,
                _ if char == '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
                _ => word.push(char),
            }
        }
        let fragment = arguments.slice(at..end);
        at = end;
        if word == "--" {
            return (flags, arguments.slice(at..text.len()).trim());
        }
        flags.push(Word { text: word, span: fragment.span() });
    }
}
