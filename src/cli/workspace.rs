//! The services of a run with their Dockerfiles, the edges between them and their tags: what `check` looks at and `build` builds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::tagging::{Tagging, no_tag};
use crate::config::{Config, Finding, Location, NamedContext, Service, Source};
use crate::dockerfile::SyntaxError;
use crate::oci::{Platform, Reference};
use crate::plan::tags::Tags;
use crate::plan::{Dockerfile, Edge, EdgeReason, Error as PlanError, NamedContexts, NamedImage, ServiceNames, Survey, images_of, order};
use crate::source::{Files, mask_credentials};

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
    /// Loads the services named in `selected` (all if it is empty) and those they need; their Dockerfiles are read in `files`. What is wrong is in the findings; the
    /// workspace then lacks what could not be loaded.
    pub fn load(config: &'c Config, files: &dyn Files, selected: &[String], tagging: &Tagging) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut names = ServiceNames::default();
        let mut loaded: BTreeMap<&str, Loaded> = BTreeMap::new();
        for (name, service) in &config.services {
            let tags = tagging.tags_of(service).unwrap_or_else(|error| {
                if selected.is_empty() || selected.iter().any(|s| s == name) {
                    findings.push(no_tag(service, &error));
                }
                Tags::default()
            });
            names.insert(name, &service.image, tags.tags.clone());
            match load_dockerfile(config, files, &service.dockerfile) {
                Ok(dockerfile) => {
                    let contexts = service.contexts.clone().into_iter().collect();
                    let Tags { tags, released, .. } = tags;
                    loaded
                        .insert(name, Loaded { service, dockerfile: Arc::new(dockerfile), contexts, surveys: Vec::new(), tags, released });
                }
                Err(more) => findings.extend(more),
            }
        }
        for one in loaded.values_mut() {
            for platform in &one.service.platforms {
                let target = one.service.target.as_deref();
                match one.dockerfile.survey(&one.service.args, target, platform, &Platform::host(), &one.contexts) {
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
        }
        findings.extend(follow_triggers(config, &mut loaded, &names));
        let edges = edges(&loaded, &names);
        let ordered = match order(loaded.keys().copied(), &edges) {
            Ok(ordered) => ordered.into_iter().map(str::to_owned).collect(),
            Err(cycle) => {
                let location = loaded.get(cycle[0].as_str()).map(|one| one.service.location.clone());
                let finding = Finding::error("brik::graph::cycle", format!("services need each other: {}", cycle.join(" -> ")));
                let finding = finding.help("take one of these edges away: a service cannot be built from itself");
                findings.push(location.map_or(finding.clone(), |location| finding.at(location)));
                Vec::new()
            }
        };
        let wanted = closure(selected, &edges);
        let services = ordered
            .iter()
            .filter(|name| selected.is_empty() || wanted.contains(name.as_str()))
            .filter_map(|name| loaded.remove(name.as_str()));
        let services = services.collect();
        (Self { config, services, names, edges }, findings)
    }
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

/// `selected` and all that they need.
fn closure<'a>(selected: &'a [String], edges: &'a [Edge]) -> BTreeSet<&'a str> {
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    let mut pending: Vec<&str> = selected.iter().map(String::as_str).collect();
    while let Some(name) = pending.pop() {
        if wanted.insert(name) {
            pending.extend(edges.iter().filter(|edge| edge.service == name).map(|edge| edge.dependency.as_str()));
        }
    }
    wanted
}

/// Lets the surveys see what triggers of other services need, which fire where a stage starts from one.
fn follow_triggers(config: &Config, loaded: &mut BTreeMap<&str, Loaded>, names: &ServiceNames) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names_of: Vec<&str> = loaded.keys().copied().collect();
    for name in names_of {
        let Some(mut one) = loaded.remove(name) else { continue };
        let dockerfile = one.dockerfile.clone();
        for (_, survey) in &mut one.surveys {
            // What is added is followed in its turn.
            let mut at = 0;
            while let Some(outside) = survey.outside.get(at).cloned() {
                at += 1;
                let from = outside.reason == EdgeReason::From;
                let service = dependency(&one.contexts, names, &outside.name, name).filter(|_| from);
                let Some(base) = service.and_then(|(service, _)| loaded.get(service)) else { continue };
                let Some((_, surveyed)) = base.surveys.first() else { continue };
                let triggers = base.dockerfile.triggers(surveyed.target);
                if let Err(error) = dockerfile.fire(survey, &one.contexts, &triggers, outside.span) {
                    findings.push(plan_finding(config, &dockerfile, &error));
                }
            }
        }
        loaded.insert(name, one);
    }
    findings
}

/// The service that a name from outside means, and whether a named context says so.
fn dependency<'a>(contexts: &'a NamedContexts, names: &'a ServiceNames, outside: &str, asking: &str) -> Option<(&'a str, bool)> {
    match contexts.for_outside(outside) {
        Some(NamedContext::Service(service)) => Some((service, true)),
        Some(_) => None,
        None => names.service_of(outside, asking).map(|service| (service, false)),
    }
}

fn edges(loaded: &BTreeMap<&str, Loaded>, names: &ServiceNames) -> Vec<Edge> {
    let mut edges = BTreeSet::new();
    let mut add = |service: &str, dependency: &str, reason: EdgeReason| {
        edges.insert(Edge { service: service.to_owned(), dependency: dependency.to_owned(), reason });
    };
    for (name, one) in loaded {
        one.service.needs.iter().for_each(|needed| add(name, needed, EdgeReason::Needs));
        for outside in one.surveys.iter().flat_map(|(_, survey)| &survey.outside) {
            if let Some((service, by_context)) = dependency(&one.contexts, names, &outside.name, name) {
                add(name, service, if by_context { EdgeReason::Context } else { outside.reason.clone() });
            }
        }
    }
    edges.into_iter().collect()
}

/// A path as the user would write it: relative to brik.toml where it lies below.
pub fn shown(config: &Config, path: &Path) -> String {
    path.strip_prefix(&config.root).unwrap_or(path).display().to_string()
}

fn load_dockerfile(config: &Config, files: &dyn Files, path: &Path) -> Result<Dockerfile, Vec<Finding>> {
    let name = shown(config, path);
    let mut bytes = Vec::new();
    let read = files.open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|error| vec![Finding::error("brik::dockerfile::unreadable", format!("cannot read {name}: {error}"))])?;
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
fn printable(text: &str) -> String {
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
