//! The variables in force at one place of the file, and what words become there. ENV and ARG of a stage are one list, as BuildKit
//! keeps them; what a stage hands on to the stages that start from it is here too.

use std::collections::BTreeSet;

use super::super::ast::Word;
use super::super::suggest::nearest;
use super::super::{Expander, Expansion, Span, WordError};
use crate::oci::ImageConfig;

#[derive(Clone, Default)]
pub(super) struct Scope {
    /// In the order in which they were set; setting again moves to the end.
    variables: Vec<(String, Value)>,
    /// Those that the image keeps: ENV, its own and that of the base.
    kept: Vec<(String, Value)>,
    /// ARGs, with a value or without.
    declared: BTreeSet<String>,
    /// ARGs without a value that a misspelt name may have meant.
    hints: Vec<String>,
    /// Whether the base image may set more variables, nobody knows which.
    open: bool,
    /// Whether the image has a SHELL of its own.
    pub shell: bool,
    /// Whether a WORKDIR of this file is in force.
    pub workdir: bool,
}

#[derive(Clone)]
struct Value {
    text: String,
    /// False where it may hang on what the base image sets.
    certain: bool,
}

/// What became of a word.
pub(super) struct Expanded {
    pub text: String,
    /// Whether it named a variable, with a value or without.
    pub matched: Vec<String>,
    pub unmatched: bool,
    /// Variables that are neither set nor declared.
    pub undefined: Vec<Undefined>,
    /// False where it may hang on what the base image sets.
    pub certain: bool,
}

pub(super) struct Undefined {
    pub name: String,
    pub span: Span,
    pub suggestion: Option<String>,
}

impl Scope {
    /// What a stage starts with on an image. `None` where the image is not known.
    pub fn of_image(config: Option<&ImageConfig>) -> Self {
        let Some(image) = config else { return Self { open: true, ..Self::default() } };
        let mut scope = Self { shell: image.config.shell.as_ref().is_some_and(|shell| !shell.is_empty()), ..Self::default() };
        for entry in &image.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            scope.set_env(name, value, true);
        }
        // Builders set PATH where the image does not.
        if image.config.env_var("PATH").is_none() {
            scope.set_env("PATH", "", false);
        }
        scope
    }

    /// What a stage starts with that starts from this one: ARGs stay, below ENV.
    pub fn continued(&self) -> Self {
        let mut next = self.clone();
        for (name, value) in &self.kept {
            put(&mut next.variables, name, value.clone());
        }
        next
    }

    pub fn set_env(&mut self, name: &str, text: &str, certain: bool) {
        let value = Value { text: text.to_owned(), certain };
        put(&mut self.kept, name, value.clone());
        put(&mut self.variables, name, value);
    }

    /// Declares an ARG, with the value that it has, if any.
    pub fn declare(&mut self, name: &str, value: Option<(&str, bool)>) {
        // These two steer BuildKit's scanner and are no variables.
        if let Some((text, certain)) = value.filter(|_| !is_steering(name)) {
            put(&mut self.variables, name, Value { text: text.to_owned(), certain });
        }
        self.declared.insert(name.to_owned());
    }

    /// Lets an ARG be meant by a misspelt name though it has no value: in FROM it may, in a stage not.
    pub fn hint(&mut self, name: &str) {
        self.hints.push(name.to_owned());
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.find(name).map(|value| value.text.as_str())
    }

    /// The names that a misspelt one may have meant.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|(known, _)| known.as_str()).chain(self.hints.iter().map(String::as_str))
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub fn word(&self, expander: Expander, word: &Word) -> Result<Expanded, WordError> {
        self.expand(word, |env| expander.word(&word.text, env))
    }

    /// Expands in the way of `how`, which is given the variables.
    pub fn expand(
        &self,
        word: &Word,
        how: impl FnOnce(super::super::Environment) -> Result<Expansion, WordError>,
    ) -> Result<Expanded, WordError> {
        let found = how(&|name| self.get(name).map(str::to_owned))?;
        let unknown = |name: &String| !self.declared.contains(name) && !is_steering(name);
        let missing: Vec<&String> = found.unmatched.iter().filter(|name| unknown(name)).collect();
        let certain =
            found.matched.iter().all(|name| self.find(name).is_some_and(|value| value.certain)) && (!self.open || missing.is_empty());
        let undefined = |name: &&String| Undefined {
            name: (*name).clone(),
            span: place_of(word, name),
            suggestion: nearest(name, self.names()).map(str::to_owned),
        };
        let undefined = if self.open { Vec::new() } else { missing.iter().map(undefined).collect() };
        Ok(Expanded { text: found.text, matched: found.matched, unmatched: !found.unmatched.is_empty(), undefined, certain })
    }
}

fn put(list: &mut Vec<(String, Value)>, name: &str, value: Value) {
    list.retain(|(known, _)| known != name);
    list.push((name.to_owned(), value));
}

fn is_steering(name: &str) -> bool {
    matches!(name, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}

/// The first `$name` or `${name…}` of a word; all of it, where its bytes in the file are not its text (JSON form, continued lines).
fn place_of(word: &Word, name: &str) -> Span {
    if word.span.len() != word.text.len() {
        return word.span;
    }
    let starts = word.text.match_indices('$').map(|(at, _)| at);
    let place = |at: usize| {
        let after = &word.text[at + 1..];
        let braced = after.starts_with('{');
        let rest = after.trim_start_matches('{').strip_prefix(name)?;
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let closing = rest.find('}').filter(|_| braced).map_or(0, |at| at + 1);
        let end = word.text.len() - rest.len() + closing;
        ends.then(|| Span::new(word.span.start + at, word.span.start + end))
    };
    starts.into_iter().find_map(place).unwrap_or(word.span)
}
