//! The merged model -> `Config`: what concerns the whole file. One service is `service.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::LoadOptions;
use super::finding::Finding;
use super::groups;
use super::layers::Layers;
use super::members::{self, Member};
use super::model::{self, File};
use super::place::{PathProblem, Place};
use super::size::parse_bytes;
use super::suggest::did_you_mean;
use super::types::{BuildOptions, CacheOptions, Config, NamedContext, RegistryOptions, Service};
use super::{policy, service};
use crate::oci::Platform;
use crate::source::NamedFile;

/// What every service is resolved against.
pub(super) struct Scope<'a> {
    pub options: &'a LoadOptions,
    pub place: &'a Place<'a>,
    pub layers: &'a Layers,
    pub file: &'a File,
    pub members: &'a BTreeMap<String, Member>,
    /// False where `check` has dropped something: what seems to be missing may be among that.
    pub complete: bool,
}

pub(super) fn resolve(options: &LoadOptions, place: &Place, layers: &Layers, file: &File, findings: &mut Vec<Finding>) -> Config {
    let complete = findings.is_empty();
    let members = members::find(place, layers, file.members.iter().map(|glob| glob.0.as_str()), findings);
    let scope = Scope { options, place, layers, file, members: &members, complete };
    let unset = model::ServiceTable::default();
    let mut services = BTreeMap::new();
    let names: std::collections::BTreeSet<&String> = members.keys().chain(file.services.keys()).collect();
    for &name in &names {
        let table = file.services.get(name).unwrap_or(&unset);
        if let Some(service) = service::resolve(&scope, name, table, findings) {
            services.insert(name.clone(), service);
        }
    }
    let known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    services.values().for_each(|service| unknown_services(&scope, service, &known, findings));
    let groups = groups::resolve(&scope, &known, findings);
    duplicate_images(&scope, &services, findings);
    caches_in_images(&scope, &services, findings);
    let policy = policy::resolve(&scope, &known, findings);
    let registry_options = |table: &model::RegistryTable| RegistryOptions {
        mirror: table.mirror.clone(),
        insecure: table.insecure,
        ca: table.ca.as_deref().map(|path| scope.anywhere(path)),
    };
    Config {
        root: place.root.clone(),
        file: place.file.clone(),
        repository: place.repository.clone(),
        registry: file.registry.clone(),
        platforms: platforms(&file.platforms),
        registries: file.registries.iter().map(|(host, table)| (host.clone(), registry_options(table))).collect(),
        policy,
        build: BuildOptions {
            ca_certs: scope.certificates(findings),
            timestamps: file.build.timestamps,
            format: file.build.format,
            exact_labels: file.build.exact_labels,
            jobs: file.build.jobs,
            isolation: file.build.isolation,
            network: file.build.network,
            processes: file.build.processes,
            memory: file.build.memory.as_deref().and_then(parse_bytes),
            registry_timeout: file.build.registry_timeout.map(|seconds| Duration::from_secs(seconds.get())),
        },
        cache: CacheOptions {
            mounts: file.cache.mounts,
            mounts_size: file.cache.mounts_size.as_deref().and_then(parse_bytes).unwrap_or(CacheOptions::default().mounts_size),
        },
        services,
        groups,
        warnings: Vec::new(),
    }
}

impl Scope<'_> {
    /// A path of credentials or certificates, which may lie anywhere: relative to brik.toml, or to home with `~/`.
    pub fn anywhere(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.options.env.get("HOME")) {
            (Some(below), Some(home)) => PathBuf::from(home).join(below),
            _ => self.place.root.join(path),
        }
    }

    /// The certificates of RUNs, which every RUN can read: brik.toml may name any place outside of the repository, a link in it may not.
    /// Whether there is such a file is known when a RUN needs it.
    fn certificates(&self, findings: &mut Vec<Finding>) -> Option<NamedFile> {
        let text = self.file.build.ca_certs.as_deref()?;
        let path = self.anywhere(text);
        if !self.place.contains(&path) {
            return Some(NamedFile { path, within: None });
        }
        let shown = if text.starts_with("~/") { path.to_string_lossy() } else { text.into() };
        let problem = match self.place.confine(&self.place.root, &shown) {
            Err(PathProblem::Missing(_)) => None,
            Ok(real) if self.place.files.is_file(&real) => None,
            Ok(_) => Some(format!("{shown} is not a file")),
            Err(problem) => Some(problem.to_string()),
        };
        if let Some(problem) = problem {
            let finding = Finding::error("brik::config::path", format!("the bundle {problem}"));
            findings.push(finding.at(self.layers.value(&["build", "ca_certs"])));
        }
        Some(NamedFile { path, within: Some(self.place.repository.clone()) })
    }
}

/// Without repetitions; the host's own where none is named. Names are known to be valid.
pub(super) fn platforms(names: &[model::PlatformName]) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for platform in names.iter().filter_map(|name| name.0.parse().ok()) {
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() { vec![Platform::host()] } else { platforms }
}

fn unknown_services(scope: &Scope, service: &Service, known: &[&str], findings: &mut Vec<Finding>) {
    let name = service.name.as_str();
    let mut check = |other: &str, at: super::Location| {
        let finding = if other == name {
            Finding::error("brik::config::needs-itself", format!("the service {name} cannot need itself"))
        } else if known.contains(&other) || !scope.complete {
            return;
        } else {
            Finding::error("brik::config::unknown-service", format!("there is no service {other}"))
                .maybe_help(did_you_mean(other, known.iter().copied()))
        };
        findings.push(finding.at(at));
    };
    for other in &service.needs {
        check(other, scope.layers.item(&["services", name, "needs"], |item| item.as_str() == Some(other)));
    }
    for (context, value) in &service.contexts {
        if let NamedContext::Service(other) = value {
            check(other, scope.layers.value(&["services", name, "contexts", context]));
        }
    }
}

/// Two services that push to one repository would overwrite each other's tags.
fn duplicate_images(scope: &Scope, services: &BTreeMap<String, Service>, findings: &mut Vec<Finding>) {
    let mut owners: BTreeMap<String, &Service> = BTreeMap::new();
    for service in services.values() {
        let Some(owner) = owners.insert(service.image.name(), service) else { continue };
        // Blame the one whose image somebody wrote.
        let written = |service: &Service| scope.layers.has(&["services", &service.name, "image"]);
        let (blamed, other) = if written(service) || !written(owner) { (service, owner) } else { (owner, service) };
        let at = if written(blamed) { scope.layers.value(&["services", &blamed.name, "image"]) } else { blamed.location.clone() };
        let message = format!("the services {} and {} have the same image {}", other.name, blamed.name, service.image);
        findings.push(Finding::error("brik::config::duplicate-image", message).at(at));
    }
}

/// What one service pushes as its image would be pruned as the cache of another.
fn caches_in_images(scope: &Scope, services: &BTreeMap<String, Service>, findings: &mut Vec<Finding>) {
    let owners: BTreeMap<String, &Service> = services.values().map(|service| (service.image.name(), service)).collect();
    for service in services.values() {
        let owner = service.cache.as_ref().and_then(|cache| owners.get(&cache.name())).filter(|owner| owner.name != service.name);
        let Some(owner) = owner else { continue };
        let message = format!("the cache of the service {} is the image of the service {}: {}", service.name, owner.name, owner.image);
        let help = format!("give {} another `image`, or set `cache` of {} to another repository or to false", owner.name, service.name);
        let written =
            [(service, "cache"), (owner, "image")].into_iter().find(|(service, key)| scope.layers.has(&["services", &service.name, key]));
        let at = written.map_or_else(|| owner.location.clone(), |(service, key)| scope.layers.value(&["services", &service.name, key]));
        findings.push(Finding::error("brik::config::cache-is-image", message).help(help).at(at));
    }
}
