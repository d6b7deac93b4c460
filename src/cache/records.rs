//! What keys led to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::shared::Belief;
use crate::oci::{Descriptor, DiffId, Layer};
use crate::plan::{CacheKey, KeyInputs};
use crate::store::{RecordKind, Store};

/// The cache repositories, by their names, on whose word something rests: none where it was made here, of what was made here.
pub type Claims = BTreeSet<String>;

/// What a Step's key led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub diff_id: DiffId,
    pub layer: Descriptor,
    pub inputs: KeyInputs,
    /// The blob of the files that it took from contexts ([`FileLists`](crate::source::FileLists)), if it took any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Descriptor>,
    /// Milliseconds that it took.
    pub took: u64,
    /// Made with a single id, which keeps no owners: good only where no more can be had.
    #[serde(default)]
    pub single_uid: bool,
    /// That the key leads to this.
    #[serde(default, skip_serializing_if = "Claims::is_empty")]
    pub claimed_by: Claims,
}

/// What an image key led to. All blobs are named by the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub layers: Vec<Layer>,
    /// Some layer of it was made with a single id.
    #[serde(default)]
    pub single_uid: bool,
    /// Milliseconds that the Steps behind it took when they ran, as far as that is known.
    #[serde(default)]
    pub took: BTreeMap<CacheKey, u64>,
    /// That the key leads to this.
    #[serde(default, skip_serializing_if = "Claims::is_empty")]
    pub claimed_by: Claims,
}

impl StepRecord {
    pub fn layer(&self) -> Layer {
        Layer { diff_id: self.diff_id, descriptor: self.layer.clone() }
    }
}

impl ImageRecord {
    /// The layers and the configuration.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.layers.iter().map(|layer| &layer.descriptor).chain([&self.config])
    }
}

/// What the store remembers of a Step, if its blob is here and `belief` holds what it rests on. What was made with a single id counts only
/// if `single_uid` says that this run has no more.
pub fn recorded(store: &Store, key: &CacheKey, belief: Belief, single_uid: &dyn Fn() -> bool) -> Option<StepRecord> {
    let record: StepRecord = store.record(RecordKind::Step, &key.0)?;
    let here = store.blob_size(&record.layer.digest) == Some(record.layer.size);
    let usable = here && belief.holds(&record.claimed_by, [(&record.layer, record.diff_id)]);
    (usable && (!record.single_uid || single_uid())).then_some(record)
}
