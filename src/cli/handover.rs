//! What the brik outside tells the one that it becomes inside of its namespaces: no server is asked twice, both see the same world (a
//! tag may move between them), and what is told at the end is told of both.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::build::{Answers, sandbox};
use crate::cache::Known;
use crate::registry::{Client, Counts};

#[derive(Default, Deserialize)]
pub struct Handover {
    pub answers: Answers,
    /// What cache repositories have said.
    pub cache: Known,
    /// What went over the wire before.
    pub counts: Counts,
    /// About credentials, and waits that registries imposed. Each once.
    warnings: Mutex<Vec<String>>,
    elapsed: Duration,
}

/// [`Handover`] as it is written.
#[derive(Serialize)]
struct Noted<'a> {
    answers: &'a Answers,
    cache: &'a Known,
    counts: Counts,
    warnings: Vec<String>,
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

    /// What there is to warn about by now, here and in the process before.
    pub fn warnings(&self, client: &Client) -> Vec<String> {
        self.new_warnings(client);
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What has come to it since it was asked for last.
    pub fn new_warnings(&self, client: &Client) -> Vec<String> {
        let mut known = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = client.take_long_waits().into_iter().map(|wait| wait.to_string());
        let unusable = client.credentials().take_unusable().into_iter().map(|unusable| format!("{unusable}; going on without it"));
        let before = known.len();
        for warning in unusable.chain(waits) {
            if !known.contains(&warning) {
                known.push(warning);
            }
        }
        known[before..].to_vec()
    }

    /// For the process inside: what `client` has heard and done by now, too. Nothing where a path is no UTF-8, for which JSON has no words:
    /// everything is asked again then.
    pub fn to_bytes(&self, client: &Client, started: Instant) -> Vec<u8> {
        let noted = Noted {
            answers: &self.answers,
            cache: &self.cache,
            counts: client.counters(),
            warnings: self.warnings(client),
            elapsed: started.elapsed(),
        };
        serde_json::to_vec(&noted).unwrap_or_default()
    }
}
