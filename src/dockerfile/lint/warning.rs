//! What rules say.

use super::super::Span;
use super::super::ast::Statement;
use super::{CheckOptions, Rule};

#[derive(Clone)]
pub struct Warning {
    pub rule: &'static Rule,
    /// BuildKit's words.
    pub message: String,
    pub span: Span,
}

/// Where one rule leaves its warnings.
pub(super) struct Warnings<'a> {
    rule: &'static Rule,
    options: &'a CheckOptions,
    /// What the comments above the last statement said: there may be as many warnings about it as comments.
    last: Option<(Span, bool)>,
    pub found: Vec<Warning>,
}

impl<'a> Warnings<'a> {
    pub fn new(rule: &'static Rule, options: &'a CheckOptions) -> Self {
        Self { rule, options, last: None, found: Vec::new() }
    }

    /// Warns, unless the file's options or those above `statement` say otherwise.
    pub fn about(&mut self, statement: &Statement, span: Span, message: String) {
        let lets_run = match self.last {
            Some((last, lets_run)) if last == statement.span => lets_run,
            _ => self.options.lets_run(self.rule, &statement.comments),
        };
        self.last = Some((statement.span, lets_run));
        if lets_run {
            self.found.push(Warning { rule: self.rule, message, span });
        }
    }

    /// Warns, unless the file's options say otherwise: BuildKit lets no comment speak about what takes the whole file to see.
    pub fn about_file(&mut self, span: Span, message: String) {
        if self.options.lets_run(self.rule, &[]) {
            self.found.push(Warning { rule: self.rule, message, span });
        }
    }
}
