//! What was not taken over from a file, and why.

use std::fmt;

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

impl Leftovers {
    pub fn of(file: &str) -> Self {
        Self { file: file.to_owned(), all: Vec::new() }
    }

    /// Something of the file itself.
    pub fn of_file(&mut self, what: impl Into<String>, fate: Fate, why: impl Into<String>) {
        self.push(what.into(), None, fate, why.into());
    }

    /// Something of one service; said once where several have it.
    pub fn of_service(&mut self, what: impl Into<String>, service: &str, fate: Fate, why: impl Into<String>) {
        self.push(what.into(), Some(service), fate, why.into());
    }

    fn push(&mut self, what: String, of: Option<&str>, fate: Fate, why: String) {
        match self.all.iter_mut().find(|left| left.what == what && left.why == why) {
            Some(same) => same.of.extend(of.map(str::to_owned).filter(|name| !same.of.contains(name))),
            None => self.all.push(Left { file: self.file.clone(), what, of: of.map(str::to_owned).into_iter().collect(), why, fate }),
        }
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
