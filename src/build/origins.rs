//! Where blobs can be had from that are not in the store, and what is known of layers without their blobs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::StepEntry;
use crate::oci::{Descriptor, DiffId, Digest, Reference};
use crate::plan::{CacheKey, Plan};

/// Places of a blob that are worth a request each.
const MOST_PLACES: usize = 8;

#[derive(Default)]
pub struct Origins {
    /// The registries that this run knows anyway: cache repositories send it to no others.
    hosts: BTreeSet<String>,
    blobs: Mutex<HashMap<Digest, Origin>>,
    /// Registries that did not answer when they were asked for what is only remembered.
    gone: Mutex<BTreeSet<String>>,
    /// Tables of contents that were made in this run, of which records appear later.
    tocs: Mutex<HashMap<DiffId, Descriptor>>,
    /// What cache repositories say of the layer that a Step makes. It is said of that Step alone: no digest holds it to the layer, which others may have, too.
    claims: Mutex<HashMap<(CacheKey, DiffId), Descriptor>>,
    /// Blobs that came with entries of cache repositories.
    carried: Mutex<HashMap<Digest, Vec<u8>>>,
}

#[derive(Default)]
struct Origin {
    places: Vec<Reference>,
    /// A base image has it.
    of_base: bool,
    /// Entries of cache repositories name it.
    of_cache: bool,
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
        let mut origins = self.lock();
        let origin = origins.entry(*blob).or_default();
        origin.of_cache = true;
        add(origin, places.iter().filter(|place| self.hosts.contains(&place.registry)));
    }

    /// Notes that a registry does not answer.
    pub fn lose_host(&self, host: &str) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(host.to_owned());
    }

    pub fn is_gone(&self, host: &str) -> bool {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    /// Notes what a cache repository knows of the Step of this key.
    pub fn note_step(&self, step: &CacheKey, entry: &StepEntry) {
        self.note_cached(&entry.record.layer.digest, &entry.places);
        if let Some(toc) = &entry.toc {
            self.note_cached(&toc.digest, &entry.places);
            self.claims.lock().unwrap_or_else(PoisonError::into_inner).insert((*step, entry.record.diff_id), toc.clone());
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
        self.lock().get(blob).is_some_and(|origin| !origin.of_base && origin.of_cache)
    }

    pub fn note_toc(&self, layer: DiffId, toc: Descriptor) {
        self.tocs.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, toc);
    }

    pub fn toc(&self, layer: &DiffId) -> Option<Descriptor> {
        self.tocs.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }

    /// The table of contents of a layer as a cache repository knows it, which says that this Step makes it.
    pub fn claimed_toc(&self, step: &CacheKey, layer: &DiffId) -> Option<Descriptor> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).get(&(*step, *layer)).cloned()
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
    use crate::cache::{Carried, StepRecord};
    use crate::plan::KeyInputs;

    #[test]
    fn what_is_said_of_the_layer_of_a_step_is_said_of_no_other() {
        let (layer, toc) = (DiffId(Digest::of(b"layer")), Descriptor::new("toc", Digest::of(b"toc"), 3));
        let record = StepRecord {
            diff_id: layer,
            layer: Descriptor::new("layer", Digest::of(b"blob"), 4),
            inputs: KeyInputs::new("run"),
            files: None,
            took: 0,
            single_uid: false,
        };
        let entry = StepEntry { keys: Vec::new(), record, toc: Some(toc.clone()), carried: Carried::default(), places: Vec::new() };
        let [step, other] = [b"step", b"base"].map(|name| CacheKey(Digest::of(name)));
        let origins = Origins::default();
        origins.note_step(&step, &entry);
        assert_eq!([origins.claimed_toc(&step, &layer), origins.claimed_toc(&other, &layer), origins.toc(&layer)], [Some(toc), None, None]);
    }

    #[test]
    fn cache_entries_lead_to_no_registry_that_the_run_does_not_know_and_to_few_repositories() {
        let own: Reference = "r.example/app-cache".parse().unwrap();
        let origins = Origins::default().and_of([&own].into_iter());
        let blob = Digest::of(b"x");
        origins.note_cached(&blob, &["169.254.169.254/latest".parse().unwrap()]);
        // So it is made again.
        assert!(origins.places(&blob).is_empty() && origins.is_cached(&blob));
        let many: Vec<Reference> = (0..100).map(|number| format!("r.example/app{number}").parse().unwrap()).collect();
        origins.note_cached(&blob, &many);
        assert_eq!(origins.places(&blob), many[..MOST_PLACES]);
    }
}
