//! `${{ … }}`: what is known of it from the workflow and the git remote; a mark stands for what only GitHub knows.

use serde_json::Value;

use super::matrix::Values;
use crate::import::marks::mark;
use crate::import::remote::Remote;
use crate::import::values::text;

/// What expressions of a call may name.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub document: &'a Value,
    pub job: &'a Value,
    pub step: &'a Value,
    pub matrix: &'a Values,
    pub remote: Option<&'a Remote>,
}

/// `env` may name other `env`, so deep and no deeper.
const DEEPEST: usize = 4;

/// Bytes; what is longer stays as it is.
const LONGEST: usize = 1 << 20;

impl Scope<'_> {
    pub fn expand(&self, text: &str) -> String {
        self.expand_within(text, DEEPEST)
    }

    /// What a shell's variable is worth: one of `env`, or what GitHub sets. `None` where only GitHub knows.
    pub fn variable(&self, name: &str) -> Option<String> {
        let own = || self.value(&format!("env.{name}"), DEEPEST);
        match name.strip_prefix("GITHUB_") {
            Some(known) => own().or_else(|| self.value(&format!("github.{}", known.to_ascii_lowercase()), DEEPEST)),
            None if name == "PWD" => Some(".".to_owned()),
            None => own(),
        }
    }

    fn expand_within(&self, text: &str, deepest: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{").filter(|_| out.len() < LONGEST) {
            let Some((inside, after)) = after.split_once("}}") else { break };
            out.push_str(before);
            out.push_str(&self.value(inside.trim(), deepest).unwrap_or_else(|| mark(inside.trim())));
            rest = after;
        }
        out + rest
    }

    fn value(&self, path: &str, deepest: usize) -> Option<String> {
        let (context, rest) = path.split_once('.')?;
        match context {
            "matrix" => text(rest.split('.').try_fold(&Value::Object(self.matrix.clone()), |value, key| value.get(key))?),
            "env" => {
                let places = [self.step, self.job, self.document];
                let value = places.iter().find_map(|place| text(place.get("env")?.get(rest)?))?;
                deepest.checked_sub(1).map(|deepest| self.expand_within(&value, deepest))
            }
            "inputs" => {
                let triggers = self.document.get("on")?;
                let declared = |trigger: &str| triggers.get(trigger)?.get("inputs")?.get(rest)?.get("default").and_then(text);
                declared("workflow_call").or_else(|| declared("workflow_dispatch"))
            }
            "github" => match rest {
                "repository" => self.remote.map(|remote| remote.path.to_ascii_lowercase()),
                "repository_owner" => self.remote.map(|remote| remote.owner().to_ascii_lowercase()),
                "event.repository.name" => self.remote.map(|remote| remote.repository().to_ascii_lowercase()),
                "workspace" => Some(".".to_owned()),
                _ => None,
            },
            _ => None,
        }
    }
}
