//! What the store remembers of earlier builds: trails, and the files that Steps took from contexts.

use crate::oci::{Descriptor, Digest, Platform, Reference};
use crate::plan::{CacheKey, KeyInputs, Past, Plan, Step, Trail};
use crate::source::FileLists;
use crate::store::{self, RecordKind, Store};

use crate::cache::StepRecord;

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
