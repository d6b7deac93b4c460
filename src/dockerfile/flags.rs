//! The flags that an instruction takes: `--name=value`, and `--name` for booleans.

use super::arguments::split_word;
use super::ast::Word;
use super::error::Faults;
use super::suggest::nearest;
use super::{SyntaxError, SyntaxErrorKind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagKind {
    Boolean,
    Text,
    /// May be repeated.
    List,
}

/// The flags of one instruction, checked against what it takes.
#[derive(Debug)]
pub(super) struct Flags {
    given: Vec<(&'static str, Word)>,
}

impl Flags {
    /// The flags that are as they should be; the others are faults.
    pub fn parse(words: &[Word], known: &[(&'static str, FlagKind)], faults: &mut Faults) -> Self {
        let mut flags = Self { given: Vec::new() };
        for word in words {
            flags.given.extend(faults.keep(flags.read(word, known)));
        }
        flags
    }

    fn read(&self, word: &Word, known: &[(&'static str, FlagKind)]) -> Result<(&'static str, Word), SyntaxError> {
        let (name, value) = match split_word(word, '=') {
            Some((name, value)) => (name.text, Some(value)),
            None => (word.text.clone(), None),
        };
        let name = name.strip_prefix("--").map(str::to_owned).unwrap_or(name);
        let Some((known_name, kind)) = known.iter().find(|(known, _)| *known == name) else {
            let suggestion = nearest(&name, known.iter().map(|(known, _)| *known)).map(|known| format!("--{known}"));
            let known = known.iter().map(|(known, _)| *known).collect();
            return Err(SyntaxError::new(SyntaxErrorKind::UnknownFlag { name, suggestion, known }, word.span));
        };
        if *kind != FlagKind::List && self.first(known_name).is_some() {
            return Err(SyntaxError::new(SyntaxErrorKind::DuplicateFlag { name }, word.span));
        }
        let value = match (kind, value) {
            (FlagKind::Boolean, None) => Word { text: "true".into(), span: word.span },
            (FlagKind::Boolean, Some(value)) if !value.text.is_empty() => {
                let lower = value.text.to_lowercase();
                if lower != "true" && lower != "false" {
                    return Err(SyntaxError::new(SyntaxErrorKind::FlagNotBoolean { name, value: value.text }, value.span));
                }
                Word { text: lower, span: value.span }
            }
            (FlagKind::Text | FlagKind::List, Some(value)) => value,
            _ => return Err(SyntaxError::new(SyntaxErrorKind::FlagWithoutValue { name }, word.span)),
        };
        Ok((known_name, value))
    }

    /// The value of a text flag. An empty value counts as absent, as in BuildKit.
    pub fn text(&self, name: &str) -> Option<Word> {
        self.first(name).filter(|word| !word.text.is_empty()).cloned()
    }

    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.first(name).map(|word| word.text == "true")
    }

    pub fn first(&self, name: &str) -> Option<&Word> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    pub fn list(&self, name: &str) -> Vec<Word> {
        self.given.iter().filter(|(given, _)| *given == name).map(|(_, value)| value.clone()).collect()
    }
}
