//! An instruction cut into its parts, before its own rules apply.

use super::arguments::{Fragment, take_flags};
use super::ast::{CommandLine, Heredoc, Word};
use super::suggest::nearest;
use super::{Span, SyntaxError, SyntaxErrorKind};

pub(super) const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Keyword, flags and arguments.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub keyword: Fragment<'a>,
    /// The instruction's name in capitals, if there is such an instruction.
    pub name: Option<&'static str>,
    pub flags: Vec<Word>,
    pub arguments: Fragment<'a>,
}

impl<'a> Parts<'a> {
    pub fn of(line: Fragment<'a>) -> Self {
        let (keyword, rest) = line.trim().split_first();
        let rest = rest.unwrap_or_else(|| keyword.slice(keyword.text().len()..keyword.text().len()));
        let (flags, arguments) = take_flags(rest);
        let name = NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(keyword.text()));
        Self { keyword, name, flags, arguments }
    }

    fn unknown(&self) -> SyntaxError {
        let written = self.keyword.text();
        let suggestion = nearest(&written.to_uppercase(), NAMES)
            .map(|name| if written.chars().any(char::is_lowercase) { name.to_ascii_lowercase() } else { name.to_owned() });
        self.keyword.error(SyntaxErrorKind::UnknownInstruction { name: written.to_owned(), suggestion })
    }

    /// Whether here-documents may belong to this instruction: only to these three, and not in JSON form.
    pub fn may_have_heredocs(&self) -> bool {
        match self.name {
            Some("ADD" | "COPY" | "RUN") => self.arguments.json().is_ok_and(|words| words.is_none()),
            Some("ONBUILD") => {
                let inner = Self::of(self.arguments);
                inner.name != Some("ONBUILD") && inner.may_have_heredocs()
            }
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Request<'a> {
    pub name: &'static str,
    pub flags: Vec<Word>,
    pub arguments: Fragment<'a>,
    pub heredocs: &'a [Heredoc],
    pub escape: char,
    /// The keyword, for faults of what is not there.
    pub span: Span,
}

impl<'a> Request<'a> {
    pub fn new(parts: Parts<'a>, heredocs: &'a [Heredoc], escape: char) -> Result<Self, SyntaxError> {
        let name = parts.name.ok_or_else(|| parts.unknown())?;
        Ok(Self { name, flags: parts.flags, arguments: parts.arguments, heredocs, escape, span: parts.keyword.span() })
    }

    pub fn error(&self, kind: SyntaxErrorKind) -> SyntaxError {
        SyntaxError::new(kind, self.span)
    }

    /// JSON form, or words between white space.
    pub fn words(&self) -> Result<Vec<Word>, SyntaxError> {
        Ok(self.arguments.json()?.unwrap_or_else(|| self.arguments.split_whitespace()))
    }

    pub fn command_line(&self) -> Result<CommandLine, SyntaxError> {
        self.command_line_of(self.arguments)
    }

    pub fn command_line_of(&self, text: Fragment<'_>) -> Result<CommandLine, SyntaxError> {
        Ok(text.json()?.map_or_else(|| CommandLine::Shell(text.word()), CommandLine::Exec))
    }

    /// All the text as one argument.
    pub fn one_argument(&self) -> Result<Word, SyntaxError> {
        if self.arguments.is_empty() {
            return Err(self.error(SyntaxErrorKind::ExactlyOneArgument { instruction: self.name }));
        }
        Ok(self.arguments.word())
    }

    pub fn at_least_one(&self, words: Vec<Word>) -> Result<Vec<Word>, SyntaxError> {
        if words.is_empty() {
            return Err(self.error(SyntaxErrorKind::AtLeastOneArgument { instruction: self.name }));
        }
        Ok(words)
    }
}
