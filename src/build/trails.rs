//! What the store remembers of earlier builds: trails, and the files that Steps took from contexts.

use std::collections::BTreeMap;

use crate::cache::{Carried, Shared, StepRecord, TrailEntry};
use crate::oci::{Descriptor, Digest, Platform, Reference};
use crate::plan::{CacheKey, ImagePlan, KeyInputs, Past, Plan, Step, StepId, Trail};
use crate::source::FileLists;
use crate::store::{self, RecordKind, Store};

/// Of [`FileLists`] as a blob.
const FILES_MEDIA_TYPE: &str = "application/vnd.brik.files.v1+zstd";

/// The records of Steps in the store.
pub struct StoredPast<'s>(pub &'s Store);

impl Past for StoredPast<'_> {
    fn inputs(&self, key: &CacheKey) -> Option<KeyInputs> {
        Some(self.0.record::<StepRecord>(RecordKind::Step, &key.0)?.inputs)
    }

    fn files(&self, key: &CacheKey) -> Option<FileLists> {
        let files = self.0.record::<StepRecord>(RecordKind::Step, &key.0)?.files?;
        FileLists::from_bytes(&self.0.read_blob(&files.digest).ok()?)
    }
}

/// What a cache repository has of the image that was given to it last.
pub struct SharedPast<'s> {
    shared: &'s Shared<'s>,
    entry: TrailEntry,
}

impl<'s> SharedPast<'s> {
    pub fn find(shared: &'s Shared<'s>, service: &str, platform: &Platform) -> Option<Self> {
        shared.trail(service, platform).map(|entry| Self { shared, entry })
    }

    pub fn trail(&self) -> &Trail {
        &self.entry.trail
    }
}

impl Past for SharedPast<'_> {
    fn inputs(&self, key: &CacheKey) -> Option<KeyInputs> {
        self.entry.inputs.get(key).cloned()
    }

    fn files(&self, key: &CacheKey) -> Option<FileLists> {
        let files = self.entry.files.get(key)?;
        // The first place is where the entry stands, the others it would have named itself.
        let bytes = self.entry.carried.get(&files.digest).or_else(|| self.shared.read_blob(self.entry.places.get(..1)?, files))?;
        FileLists::from_bytes(&bytes)
    }
}

/// What an image was made of, to be given to a cache repository. `record` knows what is remembered of its Steps, `read` lists of files.
pub(super) fn trail_entry(
    plan: &Plan,
    image: &ImagePlan,
    record: impl Fn(StepId) -> Option<StepRecord>,
    read: impl Fn(&Descriptor) -> Option<Vec<u8>>,
) -> TrailEntry {
    let steps: Vec<StepId> = plan.behind(image.root).0.into_iter().collect();
    let mut trail = Trail::of(plan, image, None);
    trail.inputs = trail.inputs.abridged();
    let files: BTreeMap<CacheKey, Descriptor> = steps.iter().filter_map(|id| Some((plan.steps[*id].key, record(*id)?.files?))).collect();
    let mut carried = Carried::default();
    files.values().for_each(|files| _ = carried.take_up(files, || read(files)));
    TrailEntry {
        trail,
        inputs: steps.iter().map(|id| (plan.steps[*id].key, plan.steps[*id].inputs.abridged())).collect(),
        files,
        carried,
        places: Vec::new(),
    }
}

/// What was built last as `image`, a name without tag, for `platform`.
pub fn last_trail(store: &Store, image: &Reference, platform: &Platform) -> Option<Trail> {
    store.record(RecordKind::Trail, &trail_key(image, platform))
}

/// Remembers what was built as `image`.
pub fn put_trail(store: &Store, image: &Reference, platform: &Platform, trail: &Trail) -> Result<(), store::Error> {
    store.put_record_soon(RecordKind::Trail, &trail_key(image, platform), trail)
}

fn trail_key(image: &Reference, platform: &Platform) -> Digest {
    Digest::of(format!("{}\0{platform}", image.name()).as_bytes())
}

/// Writes the files that a Step takes from contexts as a blob. None where it takes none, or where that fails: a build is worth
/// more than what may be said of it later.
pub(super) fn put_files(plan: &Plan, step: &Step, store: &Store) -> Option<Descriptor> {
    let mut lists = FileLists::default();
    for (context, selection) in step.selections() {
        if let (Some(hash), Some(list)) = (selection.known_hash(), plan.contexts[context].file_list(selection)) {
            lists.push(hash, list);
        }
    }
    if lists.is_empty() {
        return None;
    }
    let (digest, size) = store.put_blob(&lists.to_bytes().ok()?).ok()?;
    Some(Descriptor::new(FILES_MEDIA_TYPE, digest, size))
}
