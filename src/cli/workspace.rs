//! The services of a run with their Dockerfiles, the edges between them and their tags: what `check` looks at and `build` builds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::tagging::{Tagging, no_tag};
use crate::config::{Config, Finding, Location, NamedContext, Service, Source};
use crate::dockerfile::SyntaxError;
use crate::oci::{Platform, Reference};
use crate::plan::tags::Tags;
use crate::plan::{Dockerfile, Edge, EdgeReason, Error as PlanError, NamedContexts, NamedImage, ServiceNames, Survey, images_of, order};
use crate::source::{Files, mask_credentials, read_text};

pub struct Workspace<'c> {
    pub config: &'c Config,
    /// In the order of their needs.
    pub services: Vec<Loaded<'c>>,
    pub names: ServiceNames,
    pub edges: Vec<Edge>,
}

pub struct Loaded<'c> {
    pub service: &'c Service,
    pub dockerfile: Arc<Dockerfile>,
    pub contexts: NamedContexts,
    /// By platform.
    pub surveys: Vec<(Platform, Survey)>,
    pub tags: Vec<String>,
    /// The version that git's tags say it has.
    pub released: Option<String>,
}

impl<'c> Workspace<'c> {
    /// Loads the services named in `selected` (all if it is empty) and those they need; their Dockerfiles, and no others, are read in
    /// `files`. What is wrong is in the findings; the workspace then lacks what could not be loaded.
    pub fn load(config: &'c Config, files: &dyn Files, selected: &[String], tagging: &Tagging) -> (Self, Vec<Finding>) {
        let wanted = |name: &String| selected.is_empty() || selected.contains(name);
        let (mut tags, mut findings) = tags_of_all(config, wanted, tagging);
        let mut names = ServiceNames::default();
        config.services.iter().for_each(|(name, service)| names.insert(name, &service.image, tags[name.as_str()].tags.clone()));
        let mut loaded: BTreeMap<&str, Loaded> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut following: Vec<Following> = Vec::new();
        let mut pending: BTreeSet<&str> = config.services.keys().filter(|name| wanted(name)).map(String::as_str).collect();
        while !pending.is_empty() {
            while let Some(name) = pending.pop_first() {
                let Some(service) = config.services.get(name).filter(|_| seen.insert(name)) else { continue };
                let (one, more) = load_one(config, files, service, tags.remove(name).unwrap_or_default());
                findings.extend(more);
                if let Some(one) = one {
                    pending.extend(needs(name, &one, &names).into_iter().filter_map(|(other, _)| key_of(config, other)));
                    following.push(Following { name, followed: vec![0; one.surveys.len()] });
                    loaded.insert(name, one);
                }
            }
            // What they need by now is there: its triggers may name more.
            for mut one in std::mem::take(&mut following) {
                findings.extend(one.follow_triggers(config, &mut loaded, &names, &seen));
                let needed = loaded.get(one.name).into_iter().flat_map(|loaded| needs(one.name, loaded, &names));
                let unseen: Vec<&str> =
                    needed.filter_map(|(other, _)| key_of(config, other)).filter(|other| !seen.contains(other)).collect();
                if !unseen.is_empty() {
                    pending.extend(unseen);
                    following.push(one);
                }
            }
        }
        let edges = edges(&loaded, &names);
        let ordered = match order(loaded.keys().copied(), &edges) {
            Ok(ordered) => ordered.into_iter().map(str::to_owned).collect(),
            Err(cycle) => {
                findings.push(cycle_finding(config, &cycle, &loaded, &names));
                Vec::new()
            }
        };
        let services = ordered.iter().filter_map(|name| loaded.remove(name.as_str())).collect();
        (Self { config, services, names, edges }, findings)
    }
}

/// Tags by service: also of those that are not wanted, which the Dockerfiles of others may name by them.
fn tags_of_all<'c>(config: &'c Config, wanted: impl Fn(&String) -> bool, tagging: &Tagging) -> (BTreeMap<&'c str, Tags>, Vec<Finding>) {
    let (mut all, mut findings) = (BTreeMap::new(), Vec::new());
    for (name, service) in &config.services {
        let tags = tagging.tags_of(service).unwrap_or_else(|error| {
            if wanted(name) {
                findings.push(no_tag(service, &error));
            }
            Tags::default()
        });
        all.insert(name.as_str(), tags);
    }
    (all, findings)
}

/// A service with its Dockerfile, as far as that can be read.
fn load_one<'c>(config: &'c Config, files: &dyn Files, service: &'c Service, tags: Tags) -> (Option<Loaded<'c>>, Vec<Finding>) {
    let dockerfile = match load_dockerfile(config, files, &service.dockerfile) {
        Ok(dockerfile) => Arc::new(dockerfile),
        Err(findings) => return (None, findings),
    };
    let mut findings = Vec::new();
    let Tags { tags, released, .. } = tags;
    let mut one =
        Loaded { service, dockerfile, contexts: service.contexts.clone().into_iter().collect(), surveys: Vec::new(), tags, released };
    for platform in &service.platforms {
        match one.dockerfile.survey(&service.args, service.target.as_deref(), platform, &Platform::host(), &one.contexts) {
            Ok(survey) => {
                // The first platform tells what is wrong for all of them.
                if one.surveys.is_empty() {
                    let errors = one.dockerfile.verify(&survey, &one.contexts);
                    findings.extend(errors.iter().map(|error| plan_finding(config, &one.dockerfile, error)));
                }
                one.surveys.push((platform.clone(), survey));
            }
            Err(error) => {
                findings.push(plan_finding(config, &one.dockerfile, &error));
                break;
            }
        }
    }
    (Some(one), findings)
}

impl<'c> Workspace<'c> {
    /// The base images that the Dockerfiles name, as far as that is known before planning, with the service that each is for.
    pub fn images(&self) -> Vec<(&Loaded<'c>, NamedImage)> {
        let mut images = Vec::new();
        for loaded in &self.services {
            for (platform, survey) in &loaded.surveys {
                let named = images_of(survey, &loaded.contexts, &self.names, &loaded.service.name, platform);
                images.extend(named.into_iter().map(|image| (loaded, image)));
            }
        }
        images
    }

    /// What of them is to be resolved, each once.
    pub fn references(&self) -> Vec<(Reference, Platform)> {
        let images: BTreeSet<_> = self.images().into_iter().map(|(_, image)| (image.reference, image.platform)).collect();
        images.into_iter().collect()
    }
}

/// A service whose surveys are to see what triggers of others need, which fire where a stage starts from one.
struct Following<'c> {
    name: &'c str,
    /// Names from outside that were looked at, in each survey.
    followed: Vec<usize>,
}

impl Following<'_> {
    /// Goes on until a base is not loaded yet. What is added is followed in its turn.
    fn follow_triggers(
        &mut self,
        config: &Config,
        loaded: &mut BTreeMap<&str, Loaded>,
        names: &ServiceNames,
        seen: &BTreeSet<&str>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        let Some((name, mut one)) = loaded.remove_entry(self.name) else { return findings };
        let dockerfile = one.dockerfile.clone();
        for ((_, survey), at) in one.surveys.iter_mut().zip(&mut self.followed) {
            while let Some(outside) = survey.outside.get(*at).cloned() {
                let from = outside.reason == EdgeReason::From;
                let service = dependency(&one.contexts, names, &outside.name, name).filter(|_| from);
                if service.is_some_and(|(service, _)| !seen.contains(service)) {
                    break;
                }
                *at += 1;
                let Some(base) = service.and_then(|(service, _)| loaded.get(service)) else { continue };
                let Some((_, surveyed)) = base.surveys.first() else { continue };
                let triggers = base.dockerfile.triggers(surveyed.target);
                if let Err(error) = dockerfile.fire(survey, &one.contexts, &triggers, outside.span) {
                    findings.push(plan_finding(config, &dockerfile, &error));
                }
            }
        }
        loaded.insert(name, one);
        findings
    }
}

/// The service that a name from outside means, and whether a named context says so.
pub fn dependency<'a>(contexts: &'a NamedContexts, names: &'a ServiceNames, outside: &str, asking: &str) -> Option<(&'a str, bool)> {
    match contexts.for_outside(outside) {
        Some(NamedContext::Service(service)) => Some((service, true)),
        Some(_) => None,
        None => names.service_of(outside, asking).map(|service| (service, false)),
    }
}

/// The services that one needs, and why.
fn needs<'a>(name: &str, one: &'a Loaded, names: &'a ServiceNames) -> Vec<(&'a str, EdgeReason)> {
    let mut needs: Vec<(&str, EdgeReason)> = one.service.needs.iter().map(|needed| (needed.as_str(), EdgeReason::Needs)).collect();
    for outside in one.surveys.iter().flat_map(|(_, survey)| &survey.outside) {
        if let Some((service, by_context)) = dependency(&one.contexts, names, &outside.name, name) {
            needs.push((service, if by_context { EdgeReason::Context } else { outside.reason.clone() }));
        }
    }
    needs
}

fn edges(loaded: &BTreeMap<&str, Loaded>, names: &ServiceNames) -> Vec<Edge> {
    let edge =
        |name: &str, (dependency, reason): (&str, EdgeReason)| Edge { service: name.to_owned(), dependency: dependency.to_owned(), reason };
    let edges: BTreeSet<Edge> =
        loaded.iter().flat_map(|(name, one)| needs(name, one, names).into_iter().map(|need| edge(name, need))).collect();
    edges.into_iter().collect()
}

/// Services that need each other, where the first of them says so; the help names the places of all.
fn cycle_finding(config: &Config, cycle: &[String], loaded: &BTreeMap<&str, Loaded>, names: &ServiceNames) -> Finding {
    let needs: Vec<(Location, &str, &str)> = cycle
        .windows(2)
        .filter_map(|pair| {
            let one = loaded.get(pair[0].as_str())?;
            let surveyed = one.surveys.iter().flat_map(|(_, survey)| &survey.outside);
            let mut meant = surveyed
                .filter(|outside| dependency(&one.contexts, names, &outside.name, &pair[0]).is_some_and(|(name, _)| name == pair[1]));
            let location = meant.next().map(|outside| within(&source_of(config, &one.dockerfile), outside.span.range()));
            Some((location.unwrap_or_else(|| one.service.location.clone()), pair[0].as_str(), pair[1].as_str()))
        })
        .collect();
    let place = |(location, service, needed): &(Location, &str, &str)| {
        format!("{service} needs {needed} by {}:{}", location.source.name, location.source.position(location.span.start).0)
    };
    let places: Vec<String> = needs.iter().map(place).collect();
    let finding = Finding::error("brik::graph::cycle", format!("services need each other: {}", cycle.join(" -> ")));
    let finding = finding.help(format!("take one of these away: {}", places.join(", ")));
    match needs.into_iter().next() {
        Some((location, ..)) => finding.at(location),
        None => finding,
    }
}

/// The name as brik.toml has it.
fn key_of<'c>(config: &'c Config, name: &str) -> Option<&'c str> {
    config.services.get_key_value(name).map(|(name, _)| name.as_str())
}

/// A path as the user would write it: relative to brik.toml where it lies below.
pub fn shown(config: &Config, path: &Path) -> String {
    let shown = path.strip_prefix(&config.root).unwrap_or(path).display().to_string();
    printable(&shown).replace(['\n', '\t', '\r'], "?")
}

fn load_dockerfile(config: &Config, files: &dyn Files, path: &Path) -> Result<Dockerfile, Vec<Finding>> {
    let name = shown(config, path);
    let read = read_text(files, path);
    let bytes = read.map_err(|error| vec![Finding::error("brik::dockerfile::unreadable", format!("cannot read {name}: {error}"))])?;
    Dockerfile::parse(path, &bytes).map_err(|errors| {
        let source = Source::new(name, printable(&String::from_utf8_lossy(&bytes)));
        errors.iter().map(|error| syntax_finding(&source, error)).collect()
    })
}

fn syntax_finding(source: &Source, error: &SyntaxError) -> Finding {
    Finding::error("brik::dockerfile::syntax", printable(&error.to_string()))
        .maybe_help(error.help().as_deref().map(printable))
        .at(within(source, error.span.range()))
}

/// A Dockerfile as findings quote it.
pub fn source_of(config: &Config, dockerfile: &Dockerfile) -> Source {
    Source::new(shown(config, &dockerfile.path), printable(&dockerfile.text))
}

/// A planning error on the bytes of its Dockerfile.
pub fn plan_finding(config: &Config, dockerfile: &Dockerfile, error: &PlanError) -> Finding {
    let source = source_of(config, dockerfile);
    Finding::error("brik::plan::invalid", printable(&error.to_string()))
        .maybe_help(error.help().as_deref().map(printable))
        .at(within(&source, error.span.clone()))
}

/// A location whose span stays within the text, also where the text had to be read lossily.
pub fn within(source: &Source, span: std::ops::Range<usize>) -> Location {
    let length = source.text.len();
    source.at(span.start.min(length)..span.end.min(length))
}

/// The text without credentials of URLs and what would move a terminal's cursor or turn the text around; as long as before, so that spans stay right.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in mask_credentials(text).chars() {
        match c {
            '\n' | '\t' | '\r' => printable.push(c),
            // Directional marks, line and paragraph separators.
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => printable.push_str("???"),
            c if c.is_control() => printable.extend(std::iter::repeat_n('?', c.len_utf8())),
            c => printable.push(c),
        }
    }
    printable
}
