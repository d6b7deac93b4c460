//! The variables in force at one place of the file, and what words become there. ENV and ARG of a stage are one list, as BuildKit
//! keeps them; what a stage hands on to the stages that start from it is here too.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::super::ast::Word;
use super::super::suggest::nearest;
use super::super::{Environment, Expander, Expansion, Span, WordError};
use crate::oci::ImageConfig;

/// How much a file may make rules work, in bytes that are copied or compared: far more than any file needs that a person wrote.
const BUDGET: usize = 64 << 20;
/// What copying or comparing a variable costs besides its bytes.
const PER_VARIABLE: usize = 200;
/// Names longer than this are nobody's typing error.
const LONGEST_NAME: usize = 64;

/// What is left of [`BUDGET`]; shared by all scopes of a file.
#[derive(Clone)]
pub(super) struct Budget(Rc<Cell<usize>>);

impl Default for Budget {
    fn default() -> Self {
        Self(Rc::new(Cell::new(BUDGET)))
    }
}

impl Budget {
    /// Whether there is as much left; it is spent then, and else nothing is left.
    pub fn spend(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }

    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }
}

#[derive(Clone)]
pub(super) struct Scope {
    variables: HashMap<String, Variable>,
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
    /// Counts what was set.
    clock: usize,
    budget: Budget,
}

#[derive(Clone)]
struct Variable {
    /// When it was set last.
    set_at: usize,
    value: Value,
    /// What the image keeps: the value by ENV.
    kept: Option<Value>,
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
    /// The variables that it names and that have a value.
    pub matched: Vec<String>,
    /// Whether it names one that has none.
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
    /// No variables at all.
    pub fn empty(budget: &Budget) -> Self {
        Self {
            variables: HashMap::new(),
            declared: BTreeSet::new(),
            hints: Vec::new(),
            open: false,
            shell: false,
            workdir: false,
            clock: 0,
            budget: budget.clone(),
        }
    }

    /// What a stage starts with on an image. `None` where the image is not known.
    pub fn of_image(config: Option<&ImageConfig>, budget: &Budget) -> Self {
        let mut scope = Self::empty(budget);
        let Some(image) = config else { return Self { open: true, ..scope } };
        scope.shell = image.config.shell.as_ref().is_some_and(|shell| !shell.is_empty());
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
        let size = |(name, variable): (&String, &Variable)| name.len() + variable.value.text.len() + PER_VARIABLE;
        if !self.budget.spend(self.variables.iter().map(size).sum()) {
            return Self { open: true, ..Self::empty(&self.budget) };
        }
        let mut next = self.clone();
        let mut kept: Vec<&mut Variable> = next.variables.values_mut().filter(|variable| variable.kept.is_some()).collect();
        kept.sort_unstable_by_key(|variable| variable.set_at);
        for variable in kept {
            next.clock += 1;
            variable.set_at = next.clock;
            if let Some(kept) = &variable.kept {
                variable.value = kept.clone();
            }
        }
        next
    }

    pub fn set_env(&mut self, name: &str, text: &str, certain: bool) {
        self.set(name, Value { text: text.to_owned(), certain }, true);
    }

    /// Declares an ARG, with the value that it has, if any.
    pub fn declare(&mut self, name: &str, value: Option<(&str, bool)>) {
        // These two steer BuildKit's scanner and are no variables.
        if let Some((text, certain)) = value.filter(|_| !is_steering(name)) {
            self.set(name, Value { text: text.to_owned(), certain }, false);
        }
        self.declared.insert(name.to_owned());
    }

    fn set(&mut self, name: &str, value: Value, keep: bool) {
        self.clock += 1;
        let before = self.variables.remove(name).and_then(|variable| variable.kept);
        let kept = if keep { Some(value.clone()) } else { before };
        self.variables.insert(name.to_owned(), Variable { set_at: self.clock, value, kept });
    }

    /// Lets an ARG be meant by a misspelt name though it has no value: in FROM it may, in a stage not.
    pub fn hint(&mut self, name: &str) {
        self.hints.push(name.to_owned());
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.text.as_str())
    }

    pub fn word(&self, expander: Expander, word: &Word) -> Result<Expanded, WordError> {
        self.expand(word, |env| expander.word(&word.text, env))
    }

    /// Expands in the way of `how`, which is given the variables.
    pub fn expand(&self, word: &Word, how: impl FnOnce(Environment) -> Result<Expansion, WordError>) -> Result<Expanded, WordError> {
        let found = how(&|name| self.get(name).map(str::to_owned))?;
        self.budget.spend(word.text.len() + found.text.len());
        let is_unknown = |name: &&String| !self.declared.contains(*name) && !is_steering(name);
        let unknown: Vec<&String> = found.unmatched.iter().filter(is_unknown).collect();
        let is_certain = |name: &String| self.variables.get(name).is_some_and(|variable| variable.value.certain);
        let certain = found.matched.iter().all(is_certain) && (!self.open || unknown.is_empty());
        let undefined = |name: &&String| Undefined {
            name: (*name).clone(),
            span: if self.budget.spend(word.text.len()) { place_of(word, name) } else { word.span },
            suggestion: self.suggestion(name),
        };
        let undefined = if self.open { Vec::new() } else { unknown.iter().map(undefined).collect() };
        Ok(Expanded { text: found.text, matched: found.matched, unmatched: !found.unmatched.is_empty(), undefined, certain })
    }

    /// What a name may have been meant to be, of those that were set first if there are several.
    fn suggestion(&self, name: &str) -> Option<String> {
        let names = self.variables.len() + self.hints.len();
        if name.len() > LONGEST_NAME || !self.budget.spend(names * (PER_VARIABLE + name.len() * 16)) {
            return None;
        }
        let mut known: Vec<(usize, &str)> = self.variables.iter().map(|(name, variable)| (variable.set_at, name.as_str())).collect();
        known.sort_unstable();
        let known = known.into_iter().map(|(_, name)| name).chain(self.hints.iter().map(String::as_str));
        nearest(name, known.filter(|known| known.len() <= LONGEST_NAME)).map(str::to_owned)
    }
}

fn is_steering(name: &str) -> bool {
    matches!(name, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}

/// The first `$name` or `${name…}` of a word; all of it, where its bytes in the file are not its text (JSON form, continued lines).
fn place_of(word: &Word, name: &str) -> Span {
    if word.span.len() != word.text.len() {
        return word.span;
    }
    let place = |(at, _): (usize, &str)| {
        let after = &word.text[at + 1..];
        let braced = after.starts_with('{');
        let rest = after.strip_prefix('{').unwrap_or(after).strip_prefix(name)?;
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let closing = rest.find('}').filter(|_| braced).map_or(0, |at| at + 1);
        let end = word.text.len() - rest.len() + closing;
        ends.then(|| Span::new(word.span.start + at, word.span.start + end))
    };
    word.text.match_indices('$').find_map(place).unwrap_or(word.span)
}
