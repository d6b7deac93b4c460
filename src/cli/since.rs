//! `--since REF`: the services whose image or platform has another key now than where HEAD left REF.
//!
//! The plan of then is made as that of now is, by the same command line, from git objects: brik.toml, Dockerfiles, ignore files and
//! contexts of the commit. Base images that both plans name are asked for once, so that a tag that has moved affects nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::args::PlanArgs;
use super::bases::pins_of;
use super::failure::{Code, Failure};
use super::planning::{Planned, Setup};
use super::workspace::{Workspace, plan_finding, shown};
use crate::config::{Config, Finding, Findings, Lock, Severity};
use crate::oci::Platform;
use crate::plan::{self, Change, Plan};
use crate::source::{Commit, Files, GitFacts, StatCache};

/// What is affected, and since when.
pub struct Comparison {
    /// The commit that was compared with: 40 hexadecimal digits.
    pub commit: String,
    /// In the order of the plan.
    pub affected: Vec<Affected>,
    /// Services that were compared.
    compared: usize,
}

/// The image of one service for one platform that has another key now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    pub service: String,
    pub platform: Platform,
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// There was no such service or platform.
    New,
    /// It could not be planned then; with what was wrong.
    Unplannable(String),
    Changed(Change),
}

/// Takes the images out of the plan that `--since` finds unaffected; their Steps stay, for others may build on them. In words, what was
/// found: nothing where nobody asked.
pub fn narrow(setup: &Setup, args: &PlanArgs, planned: &mut Planned) -> Result<Vec<String>, Failure> {
    let Some(since) = &args.since else { return Ok(Vec::new()) };
    let comparison = affected(setup, args, planned, since)?;
    planned.plan.images.retain(|image| comparison.names(&image.service));
    Ok(comparison.lines(since))
}

/// Compares what is planned with the plan of then.
pub fn affected(setup: &Setup, args: &PlanArgs, planned: &Planned, since: &str) -> Result<Comparison, Failure> {
    let commit = Commit::left_at(&setup.request.config.root, since).map_err(|error| {
        let finding = Finding::error("brik::since::commit", format!("--since: {error}")).maybe_help(error.help());
        Failure::findings(Code::Usage, &[finding], Some(&setup.redactor))
    })?;
    let names: Vec<String> = planned.workspace.services.iter().map(|loaded| loaded.service.name.clone()).collect();
    let then = match setup.request.config_in(&commit, args) {
        Ok(config) => Then::plan(setup, args, &commit, &config, &names, (&planned.git, &planned.stat_cache))?,
        Err(Findings(findings)) => Then::refusing(&names, &findings),
    };
    // A stat cache that cannot be written costs only time.
    let _ = setup.store.temp_path().map(|temporary| planned.stat_cache.save(&temporary));
    let images = planned.plan.images.iter();
    let affected = images.filter_map(|image| {
        let reason = then.reason(&planned.plan, image)?;
        Some(Affected { service: image.service.clone(), platform: image.platform.clone(), reason })
    });
    Ok(Comparison { commit: commit.id(), affected: affected.collect(), compared: names.len() })
}

/// What a build of all services would ask for where everything is as in `commit`; and the services that cannot be planned, with why.
pub fn plan_at(setup: &Setup, args: &PlanArgs, planned: &Planned, commit: &Commit) -> Result<(Plan, BTreeMap<String, String>), Failure> {
    let config = setup.request.config_in(commit, args);
    let config = config.map_err(|Findings(findings)| Failure::findings(Code::Usage, &findings, Some(&setup.redactor)))?;
    let names: Vec<String> = config.services.keys().cloned().collect();
    let then = Then::plan(setup, args, commit, &config, &names, (&planned.git, &planned.stat_cache))?;
    let _ = setup.store.temp_path().map(|temporary| planned.stat_cache.save(&temporary));
    Ok((then.plan, then.refused))
}

/// The services as they were.
#[derive(Default)]
struct Then {
    plan: Plan,
    /// Those that could not be planned, and why.
    refused: BTreeMap<String, String>,
}

impl Then {
    /// All of them, for one reason.
    fn refusing(names: &[String], findings: &[Finding]) -> Self {
        let reason = first_error(findings, None);
        Self { refused: names.iter().map(|name| (name.clone(), reason.clone())).collect(), ..Self::default() }
    }

    /// Plans those of the services `names` that there were.
    fn plan(
        setup: &Setup,
        args: &PlanArgs,
        commit: &Commit,
        config: &Config,
        names: &[String],
        (git, stat_cache): (&GitFacts, &Arc<StatCache>),
    ) -> Result<Self, Failure> {
        let names: Vec<String> = names.iter().filter(|name| config.services.contains_key(*name)).cloned().collect();
        // No name would select all.
        if names.is_empty() {
            return Ok(Self::default());
        }
        let files: &dyn Files = commit;
        let (workspace, findings) = Workspace::load(config, files, &names, &setup.request.tagging(git));
        // Where there was no lock, tags mean what they mean now: nothing else says what they meant then.
        let lock = if args.image.is_given() { Ok(None) } else { Lock::read(&Lock::path(&config.file), files) };
        let lock = match lock {
            Ok(lock) => lock,
            Err(Findings(findings)) => return Ok(Self::refusing(&names, &findings)),
        };
        let mut pins = pins_of(args);
        pins.extend(lock.map(|lock| lock.pins()).unwrap_or_default());
        let remote = setup.remote(&workspace).pinned(pins, false);
        let targets = setup.targets(&workspace, git)?;
        remote.prefetch(&workspace.references());
        let (plan, failed) = plan::plan_each(&targets, &setup.options(args, &workspace, files, stat_cache, &remote));
        let mut refused = BTreeMap::new();
        for name in names {
            let loaded = workspace.services.iter().find(|loaded| loaded.service.name == name);
            let reason = match (loaded, failed.get(&name)) {
                (Some(loaded), Some(error)) => plan_finding(config, &loaded.dockerfile, error).one_line(),
                (Some(_), None) => continue,
                (None, _) => first_error(&findings, config.services.get(&name).map(|service| shown(config, &service.dockerfile))),
            };
            refused.insert(name, reason);
        }
        Ok(Self { plan, refused })
    }

    /// `None` where the image has the same key now.
    fn reason(&self, now: &Plan, image: &plan::ImagePlan) -> Option<Reason> {
        if let Some(reason) = self.refused.get(&image.service) {
            return Some(Reason::Unplannable(reason.clone()));
        }
        let mut images = self.plan.images.iter();
        match images.find(|then| then.service == image.service && then.platform == image.platform) {
            None => Some(Reason::New),
            Some(then) => plan::first_change((&self.plan, then), (now, image)).map(Reason::Changed),
        }
    }
}

/// What was wrong, in a file if one is given and blamed.
fn first_error(findings: &[Finding], file: Option<String>) -> String {
    let errors = || findings.iter().filter(|finding| finding.severity == Severity::Error);
    let about = |finding: &&Finding| {
        let file = file.as_deref().map(Path::new);
        file.is_some_and(|file| match &finding.location {
            Some(location) => Path::new(&*location.source.name) == file,
            None => finding.message.contains(&*file.to_string_lossy()),
        })
    };
    errors().find(about).or_else(|| errors().next()).map_or_else(|| "it could not be loaded".to_owned(), Finding::one_line)
}

impl Comparison {
    fn names(&self, service: &str) -> bool {
        self.affected.iter().any(|affected| affected.service == service)
    }

    /// One line for all, then one for each service that is affected.
    fn lines(&self, since: &str) -> Vec<String> {
        let services: BTreeSet<&str> = self.affected.iter().map(|affected| affected.service.as_str()).collect();
        let commit = &self.commit[..self.commit.len().min(12)];
        let head = match services.len() {
            0 => format!("nothing is affected since {since} ({commit})"),
            some => format!("{some} of {} affected since {since} ({commit})", self.compared),
        };
        let first = |service: &str| self.affected.iter().find(|affected| affected.service == service);
        let each = services.iter().filter_map(|service| Some(format!("  {service}: {}", first(service)?.reason)));
        std::iter::once(head).chain(each).collect()
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New => write!(f, "there was none"),
            Self::Unplannable(reason) => write!(f, "it could not be planned then: {reason}"),
            Self::Changed(Change { step, input, old, new }) => {
                step.iter().try_for_each(|step| write!(f, "{step}: "))?;
                let told =
                    |value: &Option<String>| value.as_deref().map(|value| if is_hash(value) { String::new() } else { plan::shown(value) });
                match (told(old), told(new)) {
                    (Some(old), Some(new)) if !old.is_empty() && !new.is_empty() && old != new => write!(f, "{input}: {old} -> {new}"),
                    (None, Some(_)) => write!(f, "{input} is new"),
                    (Some(_), None) => write!(f, "{input} is gone"),
                    _ => write!(f, "{input} changed"),
                }
            }
        }
    }
}

/// Which says nothing to people.
fn is_hash(value: &str) -> bool {
    value.starts_with("sha256:") || value.starts_with("blake3:")
}
