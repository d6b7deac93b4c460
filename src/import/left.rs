//! What was not taken over from a file, and why.

use std::fmt;

use crate::config::{Location, Source};

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// brik.toml does not say it; a comment in it does.
    Lost,
    /// brik does it by itself, or a flag does.
    Otherwise,
}

/// One thing of a file that was not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub file: String,
    /// As the file has it: `output`, `target "lint"`.
    pub what: String,
    /// The services that have it; empty where it belongs to the file.
    pub of: Vec<String>,
    pub why: String,
    pub fate: Fate,
    /// The bytes that are to blame, where the file is not understood.
    pub at: Option<Location>,
}

/// Why a file is not understood as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub why: String,
    /// The byte where it ends to be understood.
    pub at: Option<usize>,
}

/// What a reader leaves of its file.
#[derive(Debug)]
pub(super) struct Leftovers {
    file: String,
    all: Vec<Left>,
}

/// How many services are named before the rest is counted.
const NAMED: usize = 3;

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if !self.what.is_empty() {
            write!(f, ": {}", self.what)?;
        }
        match self.of.len() {
            0 => {}
            few @ 1..=NAMED => write!(f, " ({})", self.of[..few].join(", "))?,
            many => write!(f, " ({} and {} more)", self.of[..NAMED].join(", "), many - NAMED)?,
        }
        write!(f, ": {}", self.why)
    }
}

impl From<String> for Broken {
    fn from(why: String) -> Self {
        Self { why, at: None }
    }
}

impl Broken {
    /// `line` and `column` count from 1, as parsers tell them.
    pub fn at(why: String, text: &str, line: usize, column: usize) -> Self {
        let start = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        let within = text[start..].char_indices().nth(column.saturating_sub(1)).map_or(text.len() - start, |(at, _)| at);
        Self { why, at: Some(start + within) }
    }
}

impl Leftovers {
    pub fn of(file: &str) -> Self {
        Self { file: file.to_owned(), all: Vec::new() }
    }

    /// Something of the file itself.
    pub fn of_file(&mut self, what: impl Into<String>, fate: Fate, why: impl Into<String>) {
        self.push(what.into(), None, fate, why.into());
    }

    /// What the file says, of which `text` is what it holds. One that says nothing is told.
    pub fn sound<T>(&mut self, text: &str, parsed: Result<T, Broken>) -> Option<T> {
        parsed.map_err(|broken| self.broken(text, broken)).ok()
    }

    fn broken(&mut self, text: &str, broken: Broken) {
        self.push(String::new(), None, Fate::Lost, broken.why);
        let at = broken.at.map(|at| text.floor_char_boundary(at));
        let length = |at: usize| text[at..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
        if let Some(last) = self.all.last_mut() {
            last.at = at.map(|at| Source::new(self.file.as_str(), text).at(at..at + length(at)));
        }
    }

    /// Something of one service; said once where several have it.
    pub fn of_service(&mut self, what: impl Into<String>, service: &str, fate: Fate, why: impl Into<String>) {
        self.push(what.into(), Some(service), fate, why.into());
    }

    fn push(&mut self, what: String, of: Option<&str>, fate: Fate, why: String) {
        match self.all.iter_mut().find(|left| left.what == what && left.why == why) {
            Some(same) => same.of.extend(of.map(str::to_owned).filter(|name| !same.of.contains(name))),
            None => {
                let of = of.map(str::to_owned).into_iter().collect();
                self.all.push(Left { file: self.file.clone(), what, of, why, fate, at: None });
            }
        }
    }

    /// How many things there are so far.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    pub fn into_vec(self) -> Vec<Left> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_services_have_is_said_once() {
        let mut left = Leftovers::of("docker-bake.hcl");
        for service in ["a", "b", "b", "c", "d", "e"] {
            left.of_service("output", service, Fate::Otherwise, "`--push` pushes");
        }
        left.of_file("matrix", Fate::Lost, "there is none");
        left.of_file("", Fate::Lost, "unreadable");
        let told: Vec<String> = left.into_vec().iter().map(Left::to_string).collect();
        assert_eq!(
            told,
            [
                "docker-bake.hcl: output (a, b, c and 2 more): `--push` pushes",
                "docker-bake.hcl: matrix: there is none",
                "docker-bake.hcl: unreadable"
            ]
        );
    }
}
