//! `[policy]` in a run: gathers what its rules look at, and refuses pushes that they forbid.

use std::collections::BTreeMap;
use std::path::Path;

use super::bases::read_lock;
use super::evidence::write_evidence;
use super::failure::{Code, Failure};
use super::planning::{Planned, Setup};
use super::source_facts::source_facts;
use super::workspace::{Loaded, Workspace, source_of};
use crate::config::{Config, Finding, Findings, Location, NamedContext, PolicyRule, Source};
use crate::oci::{ImageConfig, Platform, Reference};
use crate::plan::{Plan, images_of};
use crate::policy::{Base, FinalUser, Subject, Verdict, Violation, final_user, is_root, judge};
use crate::source::{Disk, GitFacts, IgnoreFile};

/// What is known besides the files.
pub struct Known<'k> {
    pub git: &'k GitFacts,
    /// Whether the command line gives the tags.
    pub tags_given: bool,
    /// Whether brik.lock holds a tag, written out.
    pub locked: &'k dyn Fn(&Reference) -> bool,
    /// The configuration of an image that somebody has seen.
    pub image: &'k dyn Fn(&Reference, &Platform) -> Option<ImageConfig>,
    /// The images that a build makes, where it is planned: only they are judged then.
    pub plan: Option<&'k Plan>,
}

/// What the policy of brik.toml says; `None` where there is none. `asked`: the services that are meant; all without any.
pub fn verdict<'w>(workspace: &'w Workspace<'w>, asked: &[String], known: &Known<'w>) -> Option<Verdict<'w>> {
    let config = workspace.config;
    let policy = config.policy.as_ref()?;
    let mut users: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut subjects = Vec::new();
    // A base comes before what is built on it.
    for loaded in &workspace.services {
        let Some(subject) = subject(workspace, loaded, known, &users) else { continue };
        users.insert(&loaded.service.name, subject.user.name.clone());
        let is_built = |plan: &Plan| plan.images.iter().any(|image| image.service == loaded.service.name);
        if known.plan.is_none_or(is_built) {
            subjects.push(subject);
        }
    }
    let wanted = config.services.keys().filter(|name| asked.is_empty() || asked.contains(name));
    let unread = wanted.map(String::as_str).filter(|name| !users.contains_key(name)).collect();
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    Some(judge(policy, &subjects, unread, today))
}

/// Nothing where a FROM is wrong, which is told as such.
fn subject<'w>(
    workspace: &'w Workspace<'w>,
    loaded: &'w Loaded<'w>,
    known: &Known<'w>,
    users: &BTreeMap<&str, Option<String>>,
) -> Option<Subject<'w>> {
    let (service, dockerfile) = (loaded.service, &*loaded.dockerfile);
    let (platform, survey) = loaded.surveys.first()?;
    let mut bases: Vec<Base> = Vec::new();
    for (platform, survey) in &loaded.surveys {
        for image in images_of(survey, &loaded.contexts, &workspace.names, &service.name, platform) {
            if !bases.iter().any(|base| base.reference == image.reference && base.span == image.span) {
                let locked = image.reference.tagged().is_some_and(|name| (known.locked)(&name));
                bases.push(Base { reference: image.reference, span: image.span, locked });
            }
        }
    }
    let base_user = |name: &str, on: Option<&Platform>| {
        let of_image = |reference: &Reference| Some((known.image)(reference, on.unwrap_or(platform))?.config.user);
        let of_service = |other: &str| users.get(other).cloned().flatten();
        match loaded.contexts.for_outside(name) {
            Some(NamedContext::Image(reference)) => of_image(reference),
            Some(NamedContext::Service(other)) => of_service(other),
            Some(NamedContext::Directory(_) | NamedContext::Scratch) => Some(String::new()),
            Some(NamedContext::OciLayout { .. } | NamedContext::Url(_)) => None,
            None => match workspace.names.service_of(name, &service.name) {
                Some(other) => of_service(other),
                None => of_image(&name.parse().ok()?),
            },
        }
    };
    let user = final_user(dockerfile, survey, &loaded.contexts, &service.args, &base_user);
    let tags_location = if known.tags_given { flag_location(&loaded.tags) } else { service.tags_location.clone() };
    Some(Subject {
        service,
        dockerfile,
        source: source_of(workspace.config, dockerfile),
        survey,
        contexts: &loaded.contexts,
        tags: &loaded.tags,
        tags_location,
        git_tags: &known.git.tags,
        bases,
        user: FinalUser { name: planned_user(known.plan, &service.name).or(user.name), ..user },
        standard_labels: standard_labels(known.git, workspace.config, loaded),
        holds: held(workspace.config, loaded),
    })
}

/// Names only: the values may be those of another time.
fn standard_labels(git: &GitFacts, config: &Config, loaded: &Loaded) -> Vec<String> {
    let (service, version) = (loaded.service, loaded.released.clone());
    let known = source_facts(git, &BTreeMap::new(), &config.root, &service.context, version).unwrap_or_default();
    known.stable(&service.name).into_keys().chain(known.volatile(None).into_keys()).collect()
}

fn flag_location(tags: &[String]) -> Location {
    let text = tags.join(",");
    let length = text.len();
    Source::new("--tags", text).at(0..length)
}

/// Whom the images of a service run as; root if one of them does.
fn planned_user(plan: Option<&Plan>, service: &str) -> Option<String> {
    let users: Vec<&String> = plan?.images.iter().filter(|image| image.service == service).map(|image| &image.config.config.user).collect();
    users.iter().find(|user| is_root(user)).or(users.first()).map(|user| (*user).clone())
}

/// The services whose directories lie in the context of another one and are not ignored there.
fn held(config: &Config, loaded: &Loaded) -> Vec<String> {
    let (service, dockerfile) = (loaded.service, &loaded.dockerfile.path);
    // An ignore file that cannot be read is told by those who need it.
    let ignore = IgnoreFile::load(&Disk, Some(dockerfile), &service.context).unwrap_or_default();
    let is_held = |directory: &Path| {
        let below = directory.strip_prefix(&service.context).ok().filter(|below| !below.as_os_str().is_empty());
        let own = dockerfile.parent() == Some(directory);
        below.is_some_and(|below| !own && !ignore.excludes(below.as_os_str().as_encoded_bytes()))
    };
    let others = config.services.values().filter(|other| other.dockerfile.parent().is_some_and(is_held));
    others.map(|other| other.name.clone()).collect()
}

/// Refuses a push that the policy forbids; else what it warns about. Everything is known: nothing has been built yet. `real`: evidence is
/// to be left.
pub fn before_push(setup: &Setup, planned: &Planned, real: bool) -> Result<Vec<Finding>, Failure> {
    let config = &setup.request.config;
    if config.policy.is_none() {
        return Ok(Vec::new());
    }
    let lock = read_lock(config)?;
    let known = Known {
        git: &planned.git,
        tags_given: setup.request.tags.entries.is_some(),
        locked: &|name| lock.as_ref().is_some_and(|lock| lock.bases.contains_key(name)),
        image: &|_, _| None,
        plan: Some(&planned.plan),
    };
    // What cannot be read has no plan.
    let asked: Vec<String> = planned.workspace.services.iter().map(|loaded| loaded.service.name.clone()).collect();
    let Some(verdict) = verdict(&planned.workspace, &asked, &known) else { return Ok(Vec::new()) };
    let mut findings = verdict.findings();
    // Inside the sandbox the same is found once more.
    if real && setup.inside.is_none() {
        findings.extend(write_evidence(config, &setup.request.cwd, verdict));
    }
    match Findings(findings.clone()).has_errors() {
        true => Err(Failure::findings(Code::Findings, &findings, Some(&setup.redactor))),
        false => Ok(findings),
    }
}

/// Whether the policy says of the same bytes what a build check warns about.
pub fn says_it_too(verdict: &Verdict, finding: &Finding) -> bool {
    let same = |violation: &Violation| violation.rule == PolicyRule::NoSecrets && violation.finding.location == finding.location;
    finding.code == "brik::lint::SecretsUsedInArgOrEnv" && verdict.violations.iter().any(same)
}
