//! BuildKit's shell lexer: quotes, escapes, `$name` and the forms of `${name…}`.

use std::collections::BTreeSet;
use std::str::Chars;

use super::pattern::Pattern;
use super::word::{Environment, Expansion, WordError, WordErrorKind};

/// How deep `${a:-${b:-…}}` may nest. Each level costs a few stack frames.
pub(super) const MAX_DEPTH: usize = 100;
/// How long a result may grow: this much and sixteen times the word's own length.
const MAX_GROWTH: usize = 1 << 20;

/// Splits a line into words, keeping quotes, escapes and variables as they are written. `None` if the quoting is broken.
pub(super) fn split_raw(line: &str) -> Option<Vec<String>> {
    let lexer = Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new('\\', &|_| None) };
    lexer.run(line).ok().map(|(_, words)| words)
}

/// Splits a line into words, keeping variables, and quotes if asked for.
pub(super) fn split_unexpanded(line: &str, raw_quotes: bool) -> Result<Vec<String>, WordError> {
    Lexer { raw_quotes, keep_unset: true, ..Lexer::new('\\', &|_| None) }.run(line).map(|(_, words)| words)
}

pub(super) struct Lexer<'a> {
    rest: Chars<'a>,
    escape: char,
    env: Environment<'a>,
    raw_quotes: bool,
    raw_escapes: bool,
    keep_quotes_as_text: bool,
    keep_unset: bool,
    depth: usize,
    budget: usize,
    matched: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

type Lexed<T> = Result<T, WordErrorKind>;

impl<'a> Lexer<'a> {
    pub fn new(escape: char, env: Environment<'a>) -> Self {
        Self {
            rest: "".chars(),
            escape,
            env,
            raw_quotes: false,
            raw_escapes: false,
            keep_quotes_as_text: false,
            keep_unset: false,
            depth: 0,
            budget: 0,
            matched: BTreeSet::new(),
            unmatched: BTreeSet::new(),
        }
    }

    /// A lexer to which quotes are text.
    pub fn without_quotes(escape: char, env: Environment<'a>) -> Self {
        Self { keep_quotes_as_text: true, ..Self::new(escape, env) }
    }

    pub fn run(mut self, word: &'a str) -> Result<(Expansion, Vec<String>), WordError> {
        // Go's text scanner drops a byte order mark at the start.
        self.rest = word.strip_prefix('\u{feff}').unwrap_or(word).chars();
        self.budget = MAX_GROWTH + 16 * word.len();
        let mut splitter = Splitter::default();
        match self.until(None, self.raw_escapes, Some(&mut splitter)) {
            Ok(text) => {
                let (matched, unmatched) = (self.matched.into_iter().collect(), self.unmatched.into_iter().collect());
                Ok((Expansion { text, matched, unmatched }, splitter.finish()))
            }
            Err(kind) => Err(WordError { word: word.to_owned(), kind }),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        self.rest.next()
    }

    /// Pays for text that a value brings in.
    fn spend(&mut self, text: String) -> Lexed<String> {
        self.budget = self.budget.checked_sub(text.len()).ok_or(WordErrorKind::TooLong)?;
        Ok(text)
    }

    /// The text up to `stop`, which is consumed, or up to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool, mut splitter: Option<&mut Splitter>) -> Lexed<String> {
        let outer = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let mut result = String::new();
        while let Some(char) = self.peek() {
            if stop == Some(char) {
                self.next();
                self.raw_escapes = outer;
                return Ok(result);
            }
            let quotes = !self.keep_quotes_as_text;
            let (text, splits) = match char {
                '$' => (self.dollar()?, true),
                '\'' if quotes => (self.single_quoted()?, false),
                '"' if quotes => (self.double_quoted()?, false),
                '<' if quotes => (self.less_than(), false),
                _ => {
                    self.next();
                    if char == self.escape {
                        let mut text = String::new();
                        if self.raw_escapes {
                            text.push(char);
                        }
                        text.extend(self.next());
                        (text, false)
                    } else {
                        if let Some(splitter) = splitter.as_deref_mut() {
                            splitter.push(char);
                        }
                        result.push(char);
                        continue;
                    }
                }
            };
            if let Some(splitter) = splitter.as_deref_mut() {
                if splits {
                    text.chars().for_each(|char| splitter.push(char));
                } else {
                    splitter.push_protected(&text);
                }
            }
            result.push_str(&text);
        }
        self.raw_escapes = outer;
        if stop.is_some() { Err(WordErrorKind::MissingBrace) } else { Ok(result) }
    }

    /// The text up to `stop`. Whatever failed at the end of the word failed for want of `stop`.
    fn until_closed(&mut self, stop: char, raw_escapes: bool) -> Lexed<String> {
        match self.until(Some(stop), raw_escapes, None) {
            Err(_) if self.peek().is_none() => Err(if stop == '/' { WordErrorKind::MissingSlash } else { WordErrorKind::MissingBrace }),
            result => result,
        }
    }

    fn single_quoted(&mut self) -> Lexed<String> {
        self.next();
        let mut result = String::from(if self.raw_quotes { "'" } else { "" });
        loop {
            match self.next().ok_or(WordErrorKind::SingleQuote)? {
                '\'' => break,
                char => result.push(char),
            }
        }
        if self.raw_quotes {
            result.push('\'');
        }
        Ok(result)
    }

    fn double_quoted(&mut self) -> Lexed<String> {
        self.next();
        let mut result = String::from(if self.raw_quotes { "\"" } else { "" });
        loop {
            match self.peek().ok_or(WordErrorKind::DoubleQuote)? {
                '"' => break,
                '$' => result.push_str(&self.dollar()?),
                char => {
                    self.next();
                    let mut kept = char;
                    if char == self.escape {
                        if self.raw_escapes {
                            result.push(char);
                        }
                        match self.peek() {
                            None => continue,
                            // Only these can be escaped; before any other character the escape stays.
                            Some(next) if next == '"' || next == '$' || next == self.escape => {
                                self.next();
                                kept = next;
                            }
                            Some(_) => {}
                        }
                    }
                    result.push(kept);
                }
            }
        }
        self.next();
        if self.raw_quotes {
            result.push('"');
        }
        Ok(result)
    }

    /// `<<` keeps the spaces after it, so that `<< EOF` is one word.
    fn less_than(&mut self) -> String {
        self.next();
        let mut result = String::from("<");
        if self.peek() == Some('<') {
            result.extend(self.next());
            while matches!(self.peek(), Some(' ' | '\t' | '\r' | '\n')) {
                result.extend(self.next());
            }
        }
        result
    }

    fn dollar(&mut self) -> Lexed<String> {
        self.next();
        if self.peek() == Some('{') {
            self.next();
            if self.depth == MAX_DEPTH {
                return Err(WordErrorKind::TooDeep);
            }
            self.depth += 1;
            let text = self.braced()?;
            self.depth -= 1;
            return self.spend(text);
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".into());
        }
        match self.lookup(&name) {
            None if self.keep_unset => Ok(format!("${name}")),
            value => self.spend(value.unwrap_or_default()),
        }
    }

    /// What follows `${`.
    fn braced(&mut self) -> Lexed<String> {
        match self.peek() {
            None => return Err(WordErrorKind::MissingBrace),
            Some('{' | '}' | ':') => return Err(WordErrorKind::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let mut modifier = self.next();
        let mut written: String = modifier.map_or_else(unreadable, String::from);
        let mut empty_is_unset = false;
        match modifier {
            Some('}') => {
                return match self.lookup(&name) {
                    None if self.keep_unset => Ok(format!("${{{name}}}")),
                    value => Ok(value.unwrap_or_default()),
                };
            }
            Some('/') => return self.replacement(&name),
            Some(':') => {
                empty_is_unset = true;
                modifier = self.next();
                written.push_str(&modifier.map_or_else(unreadable, String::from));
            }
            Some('+' | '-' | '?' | '#' | '%') => {}
            _ => return Err(WordErrorKind::UnsupportedModifier(written)),
        }
        let word = self.until_closed('}', matches!(modifier, Some('#' | '%')))?;
        let value = self.lookup(&name);
        if self.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let present = value.clone().filter(|value| !(empty_is_unset && value.is_empty()));
        match modifier {
            Some('-') => Ok(present.unwrap_or(word)),
            Some('+') => Ok(present.map(|_| word).unwrap_or_default()),
            Some('?') => present.ok_or_else(|| {
                let default = if value.is_none() { "is not allowed to be unset" } else { "is not allowed to be empty" };
                WordErrorKind::Required { name, message: if word.is_empty() { default.into() } else { word } }
            }),
            Some(end @ ('#' | '%')) => {
                let (longest, pattern) = word.strip_prefix(end).map_or((false, &word[..]), |rest| (true, rest));
                let value = value.unwrap_or_default();
                let trim = if end == '#' { Pattern::trim_prefix } else { Pattern::trim_suffix };
                Pattern::new(pattern)
                    .and_then(|pattern| trim(&pattern, &value, longest))
                    .map_err(|error| WordErrorKind::Pattern { pattern: pattern.to_owned(), error })
            }
            _ => Err(WordErrorKind::UnsupportedModifier(written)),
        }
    }

    /// `pattern/text}` or `/pattern/text}`, after `${name/`.
    fn replacement(&mut self, name: &str) -> Lexed<String> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until_closed('/', true)?;
        let text = self.until_closed('}', true)?;
        let value = self.lookup(name);
        if self.keep_unset && value.is_none() {
            return Ok(format!("${{{name}/{pattern}/{text}}}"));
        }
        let parts = Pattern::new(&pattern)
            .and_then(|compiled| compiled.split(&value.unwrap_or_default(), all))
            .map_err(|error| WordErrorKind::Pattern { pattern, error })?;
        let replaced = parts.iter().map(String::len).sum::<usize>() + parts.len().saturating_sub(1) * text.len();
        if replaced > self.budget {
            return Err(WordErrorKind::TooLong);
        }
        Ok(parts.join(&text))
    }

    /// A name: letters, digits and `_`; or a number; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let start = self.rest.as_str();
        match self.peek() {
            Some(digit) if digit.is_ascii_digit() => {
                while self.peek().is_some_and(|char| char.is_ascii_digit()) {
                    self.next();
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => {
                self.next();
            }
            _ => {
                while self.peek().is_some_and(|char| char.is_alphabetic() || char.is_ascii_digit() || char == '_') {
                    self.next();
                }
            }
        }
        start[..start.len() - self.rest.as_str().len()].to_owned()
    }

    fn lookup(&mut self, name: &str) -> Option<String> {
        let value = (self.env)(name);
        let seen = if value.is_some() { &mut self.matched } else { &mut self.unmatched };
        if !seen.contains(name) {
            seen.insert(name.to_owned());
        }
        value
    }
}

/// How Go shows the end of the text where it expected a character.
fn unreadable() -> String {
    char::REPLACEMENT_CHARACTER.into()
}

/// Collects words split at unprotected white space.
#[derive(Default)]
struct Splitter {
    word: String,
    words: Vec<String>,
}

impl Splitter {
    fn push(&mut self, char: char) {
        if !char.is_whitespace() {
            self.word.push(char);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    fn push_protected(&mut self, text: &str) {
        self.word.push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}
