//! BuildKit's build checks over the Dockerfiles of a run: rules of `dockerfile::lint`, told as findings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::workspace::{Loaded, Workspace, source_of, within};
use crate::config::{Config, Finding, NamedContext, Source};
use crate::dockerfile::lint::{BUILD_ARG, CheckOptions, Surroundings, Warning, lint};
use crate::oci::{ImageConfig, Platform, Reference};
use crate::plan::{BaseName, ServiceNames, Survey, SurveyedStage, platform_args};
use crate::source::{Disk, IgnoreFile};

/// The most warnings that are told of one Dockerfile.
const MOST: usize = 200;

/// Which stages are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those that the target needs: what a build reads.
    Needed,
    /// All where no target is named, as `docker build --check` does.
    Everything,
}

/// Where configurations of base images come from.
pub struct Bases<'a> {
    pub image: &'a dyn Fn(&Reference, &Platform) -> Option<ImageConfig>,
    pub service: &'a dyn Fn(&str, &Platform) -> Option<ImageConfig>,
}

/// The warnings about the Dockerfiles of `workspace`, each once; and an error for every Dockerfile whose options make them one. For a
/// service on several platforms, the first one counts (BuildKit).
pub fn lint_all(workspace: &Workspace, reach: Reach, bases: &Bases) -> Vec<Finding> {
    let mut by_file: BTreeMap<&Path, Vec<Finding>> = BTreeMap::new();
    let mut order: Vec<&Path> = Vec::new();
    for loaded in &workspace.services {
        let path = loaded.dockerfile.path.as_path();
        if !by_file.contains_key(path) {
            order.push(path);
        }
        let known = by_file.entry(path).or_default();
        for finding in lint_one(workspace.config, &workspace.names, loaded, reach, bases) {
            if !known.contains(&finding) {
                known.push(finding);
            }
        }
    }
    order.into_iter().flat_map(|path| by_file.remove(path).unwrap_or_default()).collect()
}

/// `Dockerfile:3:5: JSONArgsRecommended: …`; what is no warning of a build check as ever.
pub fn one_line(finding: &Finding) -> String {
    let Some(rule) = finding.code.strip_prefix("brik::lint::") else { return finding.one_line() };
    Finding { message: format!("{rule}: {}", finding.message), ..finding.clone() }.one_line()
}

fn lint_one(config: &Config, names: &ServiceNames, loaded: &Loaded, reach: Reach, bases: &Bases) -> Vec<Finding> {
    let (service, dockerfile) = (loaded.service, &loaded.dockerfile);
    let source = source_of(config, dockerfile);
    let given = service.args.get(BUILD_ARG).map(String::as_str);
    let directive = dockerfile.syntax.directives.check.as_ref().filter(|_| given.is_none());
    // The build argument stands in brik.toml or on the command line.
    let at_options = |finding: Finding| match directive {
        Some(word) => finding.at(within(&source, word.span.range())),
        None => finding,
    };
    let options = match CheckOptions::of(&dockerfile.syntax, given) {
        Ok(options) => options,
        Err(error) => return vec![at_options(Finding::error("brik::lint::options", error.to_string()))],
    };
    let found = warnings(names, loaded, reach, bases, &options);
    let mut findings: Vec<Finding> = found.iter().take(MOST).map(|warning| finding(&source, warning)).collect();
    if let Some(more) = found.len().checked_sub(MOST).filter(|more| *more > 0) {
        findings.push(Finding::warning("brik::lint::more", format!("{more} more warnings about {}", source.name)));
    }
    if options.error && !found.is_empty() {
        let mut rules: Vec<&str> = Vec::new();
        for warning in &found {
            if !rules.contains(&warning.rule.name) {
                rules.push(warning.rule.name);
            }
        }
        let message = format!("lint violation found for rules: {}", rules.join(", "));
        let help = format!("fix them, or take `error=true` out of the check options of {}", source.name);
        findings.push(at_options(Finding::error("brik::lint::violation", message).help(help)));
    }
    findings
}

fn finding(source: &Source, warning: &Warning) -> Finding {
    let help = format!("`brik explain {}` says more", warning.rule.name);
    Finding::warning(warning.rule.code, &*warning.message).help(help).at(within(source, warning.span.range()))
}

fn warnings(names: &ServiceNames, loaded: &Loaded, reach: Reach, bases: &Bases, options: &CheckOptions) -> Vec<Warning> {
    let (service, dockerfile) = (loaded.service, &loaded.dockerfile);
    let stages = &dockerfile.syntax.stages;
    // Where a FROM is wrong there is no survey; what is said of the text alone still holds.
    let (platform, survey) = match loaded.surveys.first() {
        Some((platform, survey)) => (platform.clone(), Some(survey)),
        None => (service.platforms.first().cloned().unwrap_or_else(Platform::host), None),
    };
    let mut looked_at: BTreeSet<usize> = match survey {
        Some(_) if reach == Reach::Everything && service.target.is_none() => (0..stages.len()).collect(),
        Some(survey) => survey.needed.clone(),
        None => BTreeSet::new(),
    };
    looked_at.retain(|stage| !dockerfile.is_replaced(*stage, &loaded.contexts));
    let target = survey.and_then(|survey| stages.get(survey.target)).or(stages.last());
    let target = target.and_then(|stage| stage.name.as_ref()).map_or("", |name| name.text.as_str());
    let config = |stage: usize, platform: &Platform, survey: &Survey| base(names, loaded, bases, survey.stages.get(stage)?, platform);
    let strangers = |stage: usize| {
        let known = |(platform, survey): &(Platform, Survey)| {
            let expected = survey.stages.get(stage)?.platform.as_ref().unwrap_or(platform);
            let actual = config(stage, platform, survey)?.platform();
            contradict(expected, &actual).then(|| (expected.clone(), actual))
        };
        let mut strangers: Vec<_> = loaded.surveys.iter().filter_map(known).collect();
        strangers.dedup();
        strangers
    };
    // An ignore file that cannot be read is told by those who need it.
    let ignore = IgnoreFile::load(&Disk, Some(&dockerfile.path), &service.context).unwrap_or_default();
    let surroundings = Surroundings {
        args: &service.args,
        predefined: platform_args(&platform, &Platform::host(), target, &service.args).iter().cloned().collect(),
        stages: looked_at,
        base: &|stage| config(stage, &platform, survey?).map(Arc::new),
        strangers: &strangers,
        ignored: &|source| ignore.leaves_nothing_of(source),
    };
    lint(&dockerfile.syntax, &surroundings, options)
}

/// The configuration of the image that a stage starts from, where it is known.
fn base(names: &ServiceNames, loaded: &Loaded, bases: &Bases, stage: &SurveyedStage, platform: &Platform) -> Option<ImageConfig> {
    let BaseName::Outside(name) = &stage.base else { return None };
    let platform = stage.platform.as_ref().unwrap_or(platform);
    match loaded.contexts.for_outside(name) {
        Some(NamedContext::Image(reference)) => (bases.image)(reference, platform),
        Some(NamedContext::Service(other)) => (bases.service)(other, platform),
        Some(NamedContext::Directory(_) | NamedContext::Scratch) => Some(ImageConfig::scratch(platform)),
        Some(NamedContext::OciLayout { .. } | NamedContext::Url(_)) => None,
        None => match names.service_of(name, &loaded.service.name) {
            Some(other) => (bases.service)(other, platform),
            None => name.parse().ok().and_then(|reference| (bases.image)(&reference, platform)),
        },
    }
}

/// Whether an image says of itself that it is for another system or architecture. What it does not say contradicts nothing.
fn contradict(expected: &Platform, actual: &Platform) -> bool {
    let other = |expected: &str, actual: &str| !actual.is_empty() && actual != expected;
    other(&expected.os, &actual.os) || other(&expected.architecture, &actual.architecture)
}
