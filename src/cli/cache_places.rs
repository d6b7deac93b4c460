//! Which cache repositories a run asks and writes: `--cache-from`, `--cache-to`, `--no-remote-cache` over `cache` of brik.toml.

use std::collections::BTreeMap;

use super::args::CacheArgs;
use super::failure::Failure;
use super::planning::Setup;
use super::print;
use super::workspace::Workspace;
use crate::build::{Lookup, Origins, Sources, look_up};
use crate::cache::{ImageRecord, Message, Places, Shared};
use crate::config::Service;
use crate::oci::Reference;
use crate::plan::Plan;

impl Setup {
    /// The cache repositories of a run. `push`: what is built is pushed.
    pub fn shared(&self, args: &CacheArgs, push: bool, workspace: &Workspace) -> Result<Shared<'_>, Failure> {
        let places = cache_places(args, push, workspace.services.iter().map(|loaded| loaded.service))?;
        Ok(Shared::new(self.client.hasty(), places, &self.handover.cache))
    }

    /// What the store and cache repositories know of a plan.
    pub fn look_up(&self, plan: &Plan, shared: &Shared, origins: &Origins, done: &BTreeMap<usize, ImageRecord>) -> Lookup {
        look_up(plan, &Sources { store: &self.store, shared: Some(shared), origins, done, single_uid: &|| self.single_uid() })
    }

    /// The same for a command that builds nothing: what is wrong with cache repositories is told at once.
    pub fn look_up_aloud(&self, plan: &Plan, shared: &Shared) -> Lookup {
        let lookup = self.look_up(plan, shared, &Origins::of(plan).and_of(shared.repositories()), &BTreeMap::new());
        for message in shared.known.take_messages() {
            if let Message::Warning(text) = message {
                print::err(&self.redactor.redact(&format!("warning: {text}\n")));
            }
        }
        lookup
    }
}

/// By service. `push`: what is built is pushed, so that caches are read and written by themselves.
fn cache_places<'a>(
    args: &CacheArgs,
    push: bool,
    services: impl Iterator<Item = &'a Service>,
) -> Result<BTreeMap<String, Places>, Failure> {
    let more = args.cache_from.iter().filter(|text| !text.is_empty()).map(|text| repository("--cache-from", text));
    let more = more.collect::<Result<Vec<_>, _>>()?;
    let other = args.cache_to.as_deref().filter(|text| !text.is_empty()).map(|text| repository("--cache-to", text)).transpose()?;
    let writes = push || args.cache_to.is_some();
    if args.no_remote_cache {
        return Ok(BTreeMap::new());
    }
    let reads = writes || !args.cache_from.is_empty() || args.cache_repo.is_some();
    let places = services.map(|service| {
        let mut believed: Vec<Reference> = Vec::new();
        for place in other.iter().chain(&service.cache).chain(&more) {
            if !believed.iter().any(|known| known.same_repository(place)) {
                believed.push(place.clone());
            }
        }
        let read = if reads { believed.clone() } else { Vec::new() };
        let write = other.clone().or_else(|| service.cache.clone()).filter(|_| writes);
        (service.name.clone(), Places { read, believed, write })
    });
    Ok(places.collect())
}

/// A repository that a flag names, itself or as buildx does: `type=registry,ref=REPOSITORY:TAG`, where the tag is BuildKit's.
pub fn repository(flag: &str, text: &str) -> Result<Reference, Failure> {
    let refuse = |why: &str| Failure::usage(format!("{flag}={text}: {why}"));
    let buildx = text.contains('=');
    let field =
        |name: &str| text.split(',').filter_map(|field| field.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value);
    let name = match (buildx, field("type")) {
        (false, _) => text,
        (true, Some("registry") | None) => field("ref").ok_or_else(|| refuse("expected a repository, or type=registry,ref=REPOSITORY"))?,
        (true, Some(_)) => return Err(refuse("brik shares its cache through registries only: give a repository")),
    };
    let reference: Reference = name.parse().map_err(|error: crate::oci::ReferenceError| refuse(&error.to_string()))?;
    match reference.tag.is_some() || reference.digest.is_some() {
        true if buildx => Ok(Reference { tag: None, digest: None, ..reference }),
        true => Err(refuse("expected a repository; its tags are the keys of what it holds")),
        false => Ok(reference),
    }
}
