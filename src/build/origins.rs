//! Where blobs can be had from that are not in the store, and what is known of layers without their blobs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::StepEntry;
use crate::oci::{Descriptor, DiffId, Digest, Reference};
use crate::plan::Plan;

/// Places of a blob that are worth a request each.
const MOST_PLACES: usize = 8;

#[derive(Default)]
pub struct Origins {
    /// The registries that this run knows anyway: cache repositories send it to no others.
    hosts: BTreeSet<String>,
    blobs: Mutex<HashMap<Digest, Origin>>,
    /// Registries that did not answer when they were asked for what is only remembered.
    gone: Mutex<BTreeSet<String>>,
    /// Tables of contents that were made or had in this run, of which records appear later, and those that cache repositories told of.
    tocs: Mutex<HashMap<DiffId, Descriptor>>,
    /// Blobs that came with entries of cache repositories.
    carried: Mutex<HashMap<Digest, Vec<u8>>>,
}

#[derive(Default)]
struct Origin {
    places: Vec<Reference>,
    /// A base image has it.
    of_base: bool,
    /// Some Step needs its files.
    wanted: bool,
}

impl Origins {
    /// Layers of base images come from where these stand.
    pub fn of(plan: &Plan) -> Self {
        let origins = Self::default().and_of(plan.bases.iter().filter_map(|base| base.reference.as_ref()));
        for base in &plan.bases {
            for layer in base.reference.iter().flat_map(|_| &base.manifest.layers) {
                let mut origins = origins.lock();
                let origin = origins.entry(layer.digest).or_default();
                origin.of_base = true;
                add(origin, base.reference.iter());
            }
        }
        origins
    }

    /// The same, where blobs may come from the registries of these repositories, too.
    pub fn and_of<'r>(mut self, repositories: impl Iterator<Item = &'r Reference>) -> Self {
        self.hosts.extend(repositories.map(|repository| repository.registry.clone()));
        self
    }

    /// Notes that cache repositories have a blob. What an entry says of registries that this run knows nothing of does not count.
    pub fn note_cached(&self, blob: &Digest, places: &[Reference]) {
        add(self.lock().entry(*blob).or_default(), places.iter().filter(|place| self.hosts.contains(&place.registry)));
    }

    /// Notes that a registry does not answer.
    pub fn lose_host(&self, host: &str) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    pub fn is_gone(&self, host: &str) -> bool {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// Notes what a cache repository knows of a Step.
    pub fn note_step(&self, entry: &StepEntry) {
        self.note_cached(&entry.record.layer.digest, &entry.places);
        if let Some(toc) = &entry.toc {
            self.note_cached(&toc.digest, &entry.places);
            self.note_toc(entry.record.diff_id, toc.clone());
        }
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).extend(entry.carried.blobs());
    }

    /// A short blob that came with what a cache repository knows.
    pub fn carried(&self, blob: &Digest) -> Option<Vec<u8>> {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).get(blob).cloned()
    }

    /// Notes that a blob is going to be pulled.
    pub fn want(&self, blob: &Digest) {
        self.lock().entry(*blob).or_default().wanted = true;
    }

    pub fn is_wanted(&self, blob: &Digest) -> bool {
        self.lock().get(blob).is_some_and(|origin| origin.wanted)
    }

    /// The best place first.
    pub fn places(&self, blob: &Digest) -> Vec<Reference> {
        self.lock().get(blob).map(|origin| origin.places.clone()).unwrap_or_default()
    }

    /// Whether a blob that cannot be had is only something remembered, which can be made again.
    pub fn is_cached(&self, blob: &Digest) -> bool {
        self.lock().get(blob).is_some_and(|origin| !origin.of_base && !origin.places.is_empty())
    }

    pub fn note_toc(&self, layer: DiffId, toc: Descriptor) {
        self.tocs.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, toc);
    }

    pub fn toc(&self, layer: &DiffId) -> Option<Descriptor> {
        self.tocs.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Origin>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add<'r>(origin: &mut Origin, places: impl Iterator<Item = &'r Reference>) {
    for place in places {
        if origin.places.len() < MOST_PLACES && !origin.places.iter().any(|known| known.same_repository(place)) {
            origin.places.push(place.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_entries_lead_to_no_registry_that_the_run_does_not_know_and_to_few_repositories() {
        let own: Reference = "r.example/app-cache".parse().unwrap();
        let origins = Origins::default().and_of([&own].into_iter());
        let blob = Digest::of(b"x");
        origins.note_cached(&blob, &["169.254.169.254/latest".parse().unwrap()]);
        assert!(origins.places(&blob).is_empty() && !origins.is_cached(&blob));
        let many: Vec<Reference> = (0..100).map(|number| format!("r.example/app{number}").parse().unwrap()).collect();
        origins.note_cached(&blob, &many);
        assert_eq!(origins.places(&blob), many[..MOST_PLACES]);
    }
}
