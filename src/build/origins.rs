//! Where blobs can be had from that are not in the store, and what is known of layers without their blobs.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::StepEntry;
use crate::oci::{Descriptor, DiffId, Digest, Reference};
use crate::plan::Plan;

#[derive(Default)]
pub struct Origins {
    blobs: Mutex<HashMap<Digest, Origin>>,
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
        let origins = Self::default();
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

    /// Notes that cache repositories have a blob.
    pub fn note_cached(&self, blob: &Digest, places: &[Reference]) {
        add(self.lock().entry(*blob).or_default(), places.iter());
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
        if !origin.places.iter().any(|known| known.same_repository(place)) {
            origin.places.push(place.clone());
        }
    }
}
