//! Where one rule leaves what it finds about one service.

use crate::config::{Finding, Location};

#[derive(Default)]
pub(super) struct Found {
    /// What is against the rule; a doubt where that cannot be known without asking a registry.
    pub all: Vec<(Finding, Certainty)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    Violation,
    Doubt,
}

impl Found {
    pub fn violation(&mut self, at: Location, message: String, help: impl Into<String>) {
        self.add(at, message, help.into(), Certainty::Violation);
    }

    pub fn doubt(&mut self, at: Location, message: String, help: impl Into<String>) {
        self.add(at, message, help.into(), Certainty::Doubt);
    }

    /// The code and the severity are the verdict's to give.
    fn add(&mut self, at: Location, message: String, help: String, certainty: Certainty) {
        self.all.push((Finding::error("", message).help(help).at(at), certainty));
    }
}
