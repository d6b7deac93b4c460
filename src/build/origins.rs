//! Where blobs can be had from that are not in the store, and what is known of layers without their blobs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::engine::base_layers;
use crate::cache::{Claims, PlacesId, StepEntry, StepRecord};
use crate::oci::{Descriptor, DiffId, Digest, Layer, Reference};
use crate::plan::{CacheKey, Plan};

/// Places of a blob that one entry may lead to.
const MOST_PLACES: usize = 8;

#[derive(Default)]
pub struct Origins {
    /// The repositories of services and caches of this run, by name: cache repositories send it to no others, from which whoever runs it may
    /// read what those who write there may not.
    named: BTreeSet<String>,
    /// Layers of bases, as these have them.
    bases: HashSet<(DiffId, Digest, u64)>,
    blobs: Mutex<HashMap<Digest, Origin>>,
    /// Registries that did not answer when they were asked for what is only remembered.
    gone: Mutex<BTreeSet<String>>,
    /// Tables of contents that were made in this run, of which records appear later.
    tocs: Mutex<HashMap<DiffId, Descriptor>>,
    /// What cache repositories say of the layer that a Step makes. It is said of that Step alone: no digest holds it to the layer, which others may have, too.
    claims: Mutex<HashMap<(CacheKey, DiffId), (Descriptor, Claims)>>,
    /// Blobs that are what they are called on the word of cache repositories. That the store has one does not say that these have, or may.
    claimed: Mutex<HashSet<Digest>>,
    /// Blobs that this run has made, or that a repository was seen to have: its name.
    had: Mutex<HashMap<Digest, Option<String>>>,
    /// Layers of which the same is known, and what their blobs unpack to.
    seen: Mutex<HashSet<(DiffId, Digest)>>,
    /// Blobs that came with entries of cache repositories.
    carried: Mutex<HashMap<Digest, Vec<u8>>>,
}

#[derive(Default)]
struct Origin {
    places: Vec<Reference>,
    /// What entries have named as its places.
    said: BTreeSet<PlacesId>,
    /// Some Step needs its files.
    wanted: bool,
}

impl Origins {
    /// Layers of base images come from where these stand.
    pub fn of(plan: &Plan) -> Self {
        let mut origins = Self::default();
        for base in &plan.bases {
            origins.bases.extend(base_layers(base).iter().map(identity));
            for layer in base.reference.iter().flat_map(|_| &base.manifest.layers) {
                add(origins.lock().entry(layer.digest).or_default(), base.reference.iter());
            }
        }
        origins
    }

    /// The same, where blobs may come from these repositories, too.
    pub fn and_of<'r>(mut self, repositories: impl Iterator<Item = &'r Reference>) -> Self {
        self.named.extend(repositories.map(Reference::name));
        self
    }

    /// Whether a repository is one of those, by its name.
    pub fn is_named(&self, repository: &str) -> bool {
        self.named.contains(repository)
    }

    /// Notes that cache repositories have a blob. What an entry says of repositories that this run knows nothing of does not count.
    pub fn note_cached(&self, blob: &Digest, places: &[Reference]) {
        let mut blobs = self.lock();
        let origin = blobs.entry(*blob).or_default();
        origin.said.insert(PlacesId::of(places));
        add(origin, places.iter().filter(|place| self.is_named(&place.name())));
    }

    /// Notes that an entry of a cache repository calls a blob something.
    pub fn note_claimed(&self, blob: &Digest) {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(*blob);
    }

    pub fn note_had(&self, blob: &Digest) {
        self.had.lock().unwrap_or_else(PoisonError::into_inner).entry(*blob).or_default();
    }

    pub fn note_had_from(&self, blob: &Digest, repository: String) {
        self.had.lock().unwrap_or_else(PoisonError::into_inner).insert(*blob, Some(repository));
    }

    /// Whether this run, or one before, has made a blob.
    pub fn is_made(&self, blob: &Digest) -> bool {
        matches!(self.had.lock().unwrap_or_else(PoisonError::into_inner).get(blob), Some(None))
    }

    /// The repository that was seen to have a blob of which cache repositories say what it is.
    pub fn had_from(&self, blob: &Digest) -> Option<String> {
        self.had.lock().unwrap_or_else(PoisonError::into_inner).get(blob).cloned().flatten().filter(|_| self.is_claimed(blob))
    }

    /// Notes that this run has made a layer, or unpacked what a repository has.
    pub fn note_seen(&self, layer: &Layer) {
        self.note_had(&layer.descriptor.digest);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert((layer.diff_id, layer.descriptor.digest));
    }

    /// The same of what the store has recorded, or this run has made.
    pub fn note_recorded(&self, record: &StepRecord) {
        self.note_seen(&record.layer());
        record.files.iter().for_each(|files| self.note_had(&files.digest));
    }

    /// Whether a blob of the store is not to be used, or given to anybody: who says that it belongs into an image may not know more of it
    /// than its digest.
    pub fn is_only_claimed(&self, blob: &Descriptor) -> bool {
        self.is_claimed(&blob.digest)
            && !self.had.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&blob.digest)
            && self.is_remembered_blob(blob)
    }

    /// The same of what the store has of the layer of a DiffId.
    pub fn is_only_claimed_layer(&self, layer: &Layer) -> bool {
        self.is_claimed(&layer.descriptor.digest)
            && !self.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&(layer.diff_id, layer.descriptor.digest))
            && self.is_remembered(layer)
    }

    /// Whether cache repositories have said what a blob is.
    pub fn is_from_cache(&self, blob: &Descriptor) -> bool {
        self.is_claimed(&blob.digest) && self.is_remembered_blob(blob)
    }

    fn is_claimed(&self, blob: &Digest) -> bool {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner).contains(blob)
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
        self.note_claimed(&entry.record.layer.digest);
        entry.record.files.iter().for_each(|files| self.note_claimed(&files.digest));
        if let Some(toc) = &entry.toc {
            self.note_toc_claimed(toc, &entry.places);
            let claim = (toc.clone(), entry.record.claimed_by.clone());
            self.claims.lock().unwrap_or_else(PoisonError::into_inner).insert((*step, entry.record.diff_id), claim);
        }
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).extend(entry.carried.blobs());
    }

    /// Notes that a cache repository calls a blob a table of contents.
    pub fn note_toc_claimed(&self, toc: &Descriptor, places: &[Reference]) {
        self.note_cached(&toc.digest, places);
        self.note_claimed(&toc.digest);
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

    /// Whether somebody who needs a blob may do without it: what only a base has, nobody here can make. Of a base's layer a cache
    /// repository may have said that a Step makes it.
    pub fn can_be_made_again(&self, blob: &Descriptor) -> bool {
        self.is_remembered_blob(blob) || self.is_claimed(&blob.digest)
    }

    /// The same of the layer that it is called.
    pub fn can_be_made_again_as(&self, layer: &Layer) -> bool {
        self.is_remembered(layer) || self.is_claimed(&layer.descriptor.digest)
    }

    /// What is of no use where none of a blob's places gives it, if only entries have spoken of it.
    pub fn tried(&self, blob: &Digest) -> Option<BTreeSet<PlacesId>> {
        self.is_claimed(blob).then(|| self.lock().get(blob).map(|origin| origin.said.clone()).unwrap_or_default())
    }

    /// Whether a layer is only something remembered, which can be made again if it cannot be had, or is not what it should be: no base
    /// has just this one.
    pub fn is_remembered(&self, layer: &Layer) -> bool {
        !self.bases.contains(&identity(layer))
    }

    /// The same of a blob.
    pub fn is_remembered_blob(&self, blob: &Descriptor) -> bool {
        !self.bases.iter().any(|(_, digest, size)| (*digest, *size) == (blob.digest, blob.size))
    }

    pub fn note_toc(&self, layer: DiffId, toc: Descriptor) {
        self.tocs.lock().unwrap_or_else(PoisonError::into_inner).insert(layer, toc);
    }

    pub fn toc(&self, layer: &DiffId) -> Option<Descriptor> {
        self.tocs.lock().unwrap_or_else(PoisonError::into_inner).get(layer).cloned()
    }

    /// The table of contents of a layer as a cache repository knows it, which says that this Step makes it.
    pub fn claimed_toc(&self, step: &CacheKey, layer: &DiffId) -> Option<(Descriptor, Claims)> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).get(&(*step, *layer)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Origin>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a layer the same one, whatever a registry or a mirror calls its encoding.
pub(super) fn identity(layer: &Layer) -> (DiffId, Digest, u64) {
    (layer.diff_id, layer.descriptor.digest, layer.descriptor.size)
}

/// Those of one entry, however many others have named before: who names none of any use is to be found out by that.
fn add<'r>(origin: &mut Origin, places: impl Iterator<Item = &'r Reference>) {
    for place in places.take(MOST_PLACES) {
        if !origin.places.iter().any(|known| known.same_repository(place)) {
            origin.places.push(place.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Carried;
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
            claimed_by: Claims::from(["r.example/app-cache".to_owned()]),
        };
        let claims = record.claimed_by.clone();
        let entry = StepEntry { keys: Vec::new(), record, toc: Some(toc.clone()), carried: Carried::default(), places: Vec::new() };
        let [step, other] = [b"step", b"base"].map(|name| CacheKey(Digest::of(name)));
        let origins = Origins::default();
        origins.note_step(&step, &entry);
        assert_eq!([origins.claimed_toc(&step, &layer), origins.claimed_toc(&other, &layer)], [Some((toc, claims)), None]);
        assert_eq!(origins.toc(&layer), None);
    }

    #[test]
    fn cache_entries_lead_to_no_repository_that_the_run_does_not_know_and_to_few() {
        let many: Vec<Reference> = (0..100).map(|number| format!("r.example/app{number}").parse().unwrap()).collect();
        let origins = Origins::default().and_of(many.iter());
        let blob = Digest::of(b"x");
        origins.note_cached(&blob, &["169.254.169.254/app1".parse().unwrap(), "r.example/private".parse().unwrap()]);
        assert_eq!(origins.places(&blob), []);
        origins.note_cached(&blob, &many);
        assert_eq!(origins.places(&blob), many[..MOST_PLACES]);
        origins.note_cached(&blob, &many[50..]);
        assert_eq!(origins.places(&blob)[MOST_PLACES..], many[50..50 + MOST_PLACES], "another entry, which may know better");
    }
}
