//! What the brik outside tells the one that it becomes inside of its namespaces: no server is asked twice, both see the same world (a
//! tag may move between them), and what is told at the end is told of both.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::build::{Answers, sandbox};
use crate::registry::{Client, Counts};

#[derive(Default, Serialize, Deserialize)]
pub struct Handover {
    pub answers: Answers,
    /// What went over the wire.
    pub counts: Counts,
    /// About credentials, each once.
    pub warnings: Vec<String>,
    elapsed: Duration,
}

impl Handover {
    /// Empty where this process is the first.
    pub fn received() -> Self {
        serde_json::from_slice(sandbox::handed_over()).unwrap_or_default()
    }

    /// When the run began.
    pub fn started(&self) -> Instant {
        let now = Instant::now();
        now.checked_sub(self.elapsed).unwrap_or(now)
    }

    /// Takes up what `client` has heard and done by now.
    pub fn note(&mut self, client: &Client, started: Instant) {
        self.counts = client.counters();
        self.elapsed = started.elapsed();
        let new = client.credentials().take_warnings().into_iter().map(|warning| warning.to_string());
        new.for_each(|warning| {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning)
            }
        });
    }

    /// For the process inside. Nothing where a path is no UTF-8, for which JSON has no words: everything is asked again then.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
