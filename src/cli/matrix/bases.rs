//! The base images of all jobs: what their tags lead to when the matrix is made.

use std::collections::BTreeSet;

use crate::build::ask_all;
use crate::cli::args::PlanArgs;
use crate::cli::bases::{bases, read_lock};
use crate::cli::failure::{Code, Failure};
use crate::cli::offline;
use crate::cli::planning::Setup;
use crate::cli::relock::AT_ONCE;
use crate::cli::workspace::Workspace;
use crate::config::{Config, Finding};
use crate::oci::{Digest, Reference};

/// Asks for the tags that neither brik.lock nor the command line holds to a digest. A brik.lock is in the repository: the jobs have it, too.
pub fn resolve(setup: &Setup, args: &PlanArgs) -> Result<Vec<(Reference, Digest)>, Failure> {
    if args.locked {
        return Ok(Vec::new());
    }
    let config: &Config = &setup.request.config;
    let workspace = offline::workspace(config, &setup.request.services)?;
    let lock = read_lock(config)?.unwrap_or_default();
    let bases = bases(&workspace);
    let held = |name: &Reference| lock.bases.contains_key(name) || args.pin.iter().any(|(pinned, _)| pinned == name);
    let open: Vec<Reference> = bases.keys().filter(|name| !held(name)).cloned().collect();
    let answers = ask_all(&open, AT_ONCE, |name| setup.client.look_up(name));
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for (name, answer) in open.into_iter().zip(answers) {
        let finding = match answer {
            Ok(Some(digest)) => {
                found.push((name, digest));
                continue;
            }
            Ok(None) => Finding::error("brik::matrix::base", format!("there is no {name}")),
            Err(error) => Finding::error("brik::matrix::base", error.to_string()).maybe_help(error.advice()),
        };
        failures.push(bases.get(&name).map_or(finding.clone(), |used| finding.at(used.place(config))));
    }
    if failures.is_empty() { Ok(found) } else { Err(Failure::findings(Code::Failed, &failures, Some(&setup.redactor))) }
}

/// Those of `pins` that some services and all that they need are built on.
pub fn of<'p>(workspace: &Workspace, pins: &'p [(Reference, Digest)], services: &[String]) -> Vec<&'p (Reference, Digest)> {
    let (mut needed, mut pending) = (BTreeSet::new(), services.iter().map(String::as_str).collect::<Vec<_>>());
    while let Some(service) = pending.pop() {
        if needed.insert(service) {
            pending.extend(workspace.edges.iter().filter(|edge| edge.service == service).map(|edge| edge.dependency.as_str()));
        }
    }
    let bases = bases(workspace);
    let is_used = |name: &Reference| bases.get(name).is_some_and(|used| used.services.iter().any(|service| needed.contains(service)));
    pins.iter().filter(|(name, _)| is_used(name)).collect()
}
