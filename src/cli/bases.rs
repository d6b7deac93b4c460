//! The base images that Dockerfiles name by tag, beside those that brik.lock holds.

use std::collections::{BTreeMap, BTreeSet};

use super::args::PlanArgs;
use super::failure::{Code, Failure};
use super::planning::Setup;
use super::tagging::{GivenTags, Tagging};
use super::workspace::{Loaded, Workspace, source_of, within};
use crate::config::{Config, Finding, Findings, Location, Lock, Severity};
use crate::dockerfile::Span;
use crate::oci::{Digest, Pin, Pins, Platform, Reference, ReferenceError};
use crate::source::{Disk, GitFacts};

/// By names with their tags written out.
pub type Bases<'w> = BTreeMap<Reference, Used<'w>>;

/// How a base is used.
pub struct Used<'w> {
    pub platforms: BTreeSet<Platform>,
    pub services: BTreeSet<&'w str>,
    /// Where it is named first.
    named: (&'w Loaded<'w>, Span),
}

impl Used<'_> {
    pub fn place(&self, config: &Config) -> Location {
        let (loaded, span) = &self.named;
        within(&source_of(config, &loaded.dockerfile), span.range())
    }

    /// For people, who need not read of hundreds.
    pub fn services_in_short(&self) -> String {
        const MOST: usize = 5;
        let names: Vec<&str> = self.services.iter().take(MOST).copied().collect();
        match self.services.len().saturating_sub(MOST) {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }
}

/// All services of brik.toml. That one has no tag yet says nothing of its bases.
pub fn workspace(setup: &Setup) -> Result<Workspace<'_>, Failure> {
    let config = &setup.request.config;
    let git = GitFacts::read(&config.root, &setup.request.env);
    let (workspace, findings) = Workspace::load(config, &Disk, &[], &Tagging::new(&git, &setup.request.env, GivenTags::default()));
    let errors: Vec<Finding> =
        findings.into_iter().filter(|finding| finding.severity == Severity::Error && finding.code != "brik::tags::none").collect();
    if errors.is_empty() { Ok(workspace) } else { Err(Failure::findings(Code::Usage, &errors, Some(&setup.redactor))) }
}

pub fn bases<'w>(workspace: &'w Workspace<'w>) -> Bases<'w> {
    let mut bases = Bases::new();
    for (loaded, image) in workspace.images() {
        let Some(name) = image.reference.tagged() else { continue };
        let fresh = || Used { platforms: BTreeSet::new(), services: BTreeSet::new(), named: (loaded, image.span) };
        let used = bases.entry(name).or_insert_with(fresh);
        used.platforms.insert(image.platform);
        used.services.insert(&loaded.service.name);
    }
    bases
}

/// `--pin`: a name with its tag written out, and what it is held to.
pub fn pin(text: &str) -> Result<(Reference, Digest), String> {
    let reference: Reference = text.parse().map_err(|error: ReferenceError| error.to_string())?;
    let digest = reference.digest.ok_or("expected a name with its digest, as in alpine:3.20@sha256:…")?;
    Ok((reference.with_tag(reference.tag.as_deref().unwrap_or("latest")), digest))
}

/// What `--pin` says.
pub fn pins_of(args: &PlanArgs) -> Pins {
    let pin = |(name, digest): &(Reference, Digest)| (name.clone(), Pin { digest: *digest, platforms: BTreeMap::new() });
    args.pin.iter().map(pin).collect()
}

/// The lock beside brik.toml, where there is one.
pub fn read_lock(config: &Config) -> Result<Option<Lock>, Failure> {
    Lock::read(&Lock::path(&config.file), &Disk).map_err(|Findings(findings)| Failure::findings(Code::Usage, &findings, None))
}

/// `brik.lock`
pub fn lock_name(config: &Config) -> String {
    Lock::path(&config.file).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The bases in use that are not locked: nothing is odd about them where nobody locks. An error each with `locked`.
pub fn unlocked(config: &Config, bases: &Bases, lock: Option<&Lock>, locked: bool) -> Vec<Finding> {
    let missing = bases.iter().filter(|(name, _)| lock.map_or(locked, |lock| !lock.bases.contains_key(name)));
    let severity = if locked { Severity::Error } else { Severity::Warning };
    let finding = |(name, used): (&Reference, &Used)| {
        let message = format!("{name} is not in {}: `brik lock` pins it", lock_name(config));
        Finding::new("brik::lock::missing", severity, message).at(used.place(config))
    };
    missing.map(finding).collect()
}

/// What is locked and not in use. `bases` are those of all services.
pub fn unused(bases: &Bases, lock: &Lock) -> Vec<Finding> {
    let unused = lock.bases.keys().filter(|name| !bases.contains_key(name));
    let finding = |name: &Reference| {
        let finding = Finding::warning("brik::lock::unused", format!("no Dockerfile names {name} any more: `brik lock` drops it"));
        lock.place(name).map_or(finding.clone(), |place| finding.at(place.clone()))
    };
    unused.map(finding).collect()
}
