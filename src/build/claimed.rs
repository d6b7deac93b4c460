//! Layers on the word of cache repositories. What the store has of one for other reasons, as that another project is built here, too, is used
//! only where a repository of the run has given it, to this run or to one before: who names a digest may not know more of it than that.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::layers::Layers;
use crate::oci::{Descriptor, DiffId, Digest, Layer};
use crate::store::RecordKind;

/// Repositories that one blob is remembered to have come from.
const MOST_REPOSITORIES: usize = 64;

/// Who has given a blob, by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OriginRecord {
    pub blob: Digest,
    /// By name, the latest last.
    pub repositories: Vec<String>,
    /// What it unpacks to, where that was found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<DiffId>,
}

impl OriginRecord {
    /// Adds what another run has found out before, without which this would be forgotten.
    fn and_of(mut self, earlier: Option<Self>) -> Self {
        let Some(mut earlier) = earlier else { return self };
        earlier.repositories.retain(|name| !self.repositories.contains(name));
        self.repositories.splice(..0, earlier.repositories);
        self.repositories.drain(..self.repositories.len().saturating_sub(MOST_REPOSITORIES));
        Self { diff_id: self.diff_id.or(earlier.diff_id), ..self }
    }
}

impl Layers<'_> {
    /// Whether a blob of the store may be used.
    pub(super) fn may_use(&self, blob: &Descriptor) -> bool {
        if self.origins.is_only_claimed(blob) && self.origin(&blob.digest).is_some() {
            self.origins.note_had(&blob.digest);
        }
        !self.origins.is_only_claimed(blob)
    }

    /// The same of a short one, which may have come with the entry that names it.
    pub(super) fn take_carried(&self, blob: &Descriptor) -> bool {
        let carried = self.origins.carried(&blob.digest).filter(|bytes| self.store.put_blob(bytes).is_ok());
        carried.iter().for_each(|_| self.origins.note_had(&blob.digest));
        self.may_use(blob)
    }

    /// Whether what the store has of the layer of this DiffId may be used.
    pub(super) fn may_use_layer(&self, layer: &Layer) -> bool {
        let diff_id = || self.origin(&layer.descriptor.digest)?.diff_id;
        if self.origins.is_only_claimed_layer(layer) && diff_id() == Some(layer.diff_id) {
            self.origins.note_seen(layer);
        }
        !self.origins.is_only_claimed_layer(layer)
    }

    /// Remembers where a layer was had from, for other runs, if that matters to them.
    pub(super) fn keep_origin(&self, blob: &Digest, diff_id: Option<DiffId>) -> Result<bool, Error> {
        let Some(repository) = self.origins.had_from(blob) else { return Ok(false) };
        let record = OriginRecord { blob: *blob, repositories: vec![repository], diff_id };
        self.store.put_record_soon(RecordKind::Origin, blob, &record.and_of(self.store.record(RecordKind::Origin, blob)))?;
        Ok(true)
    }

    /// What is remembered of a blob, if a repository that this run knows has given it: which of them is one, as services that share a Step
    /// have its layer from any of theirs.
    fn origin(&self, blob: &Digest) -> Option<OriginRecord> {
        let record: OriginRecord = self.store.record(RecordKind::Origin, blob)?;
        record.repositories.iter().any(|name| self.origins.is_named(name)).then_some(record)
    }
}
