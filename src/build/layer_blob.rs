//! Layers as blobs. What an image is made of is compressed as registries expect it; a layer that only other Steps use never leaves the store,
//! and is compressed as fast as can be.

use std::io::BufReader;
use std::path::Path;

use super::engine::Engine;
use super::error::Error;
use super::sandbox::Rung;
use crate::cache::StepRecord;
use crate::image::{BorrowedFiles, Codec, LayerOptions, LayerTar, LayerWriter, Mtime, recode_layer, write_layer};
use crate::oci::{Descriptor, Layer};
use crate::plan::StepId;
use crate::store::{BlobWriter, Flight, RecordKind};

/// Four times as fast as what is shipped, and as dense.
const INTERMEDIATE: Codec = Codec::Zstd { level: 1 };

impl Engine<'_> {
    /// Makes a layer of an upper directory and of what it borrows; gives the directory the times that its snapshot is to have.
    pub(super) fn write_layer(&self, id: StepId, epoch: Option<i64>, upper: &Path, borrowed: &BorrowedFiles<'_>) -> Result<Layer, Error> {
        let mtime = epoch.map_or(Mtime::Preserve, Mtime::Normalized);
        let options = LayerOptions { mtime, owner_xattr: self.single_uid(), own_marks: self.layers.rung == Rung::Chroot };
        let codec = if self.is_shipped(id) { Codec::default() } else { INTERMEDIATE };
        let mut writer = LayerWriter::new(codec, self.layers.store.blob_writer()?);
        let mut toc = self.layers.toc_writer()?;
        write_layer(upper, borrowed, &options, &mut writer, &mut toc)?;
        let (layer, _) = self.commit(codec, writer)?;
        self.layers.keep_toc(&layer.diff_id, toc)?;
        Ok(layer)
    }

    /// The layer of a Step as an image has it: one that was made when no image had it is compressed again.
    pub(super) fn shipped_layer(&self, id: StepId) -> Result<Layer, Error> {
        let layer = self.layer(id).ok_or(Error::Cancelled)?;
        if layer.descriptor.media_type != INTERMEDIATE.media_type() {
            return Ok(layer);
        }
        let (store, key) = (self.layers.store, &self.plan.steps[id].key.0);
        let _flight = store.single_flight(Flight::Step, key)?;
        // What others' word of the same layer has left there may name another blob.
        let claims = self.record(id).map(|record| record.claimed_by);
        let same_layer = |record: &StepRecord| record.diff_id == layer.diff_id && claims.as_ref() == Some(&record.claimed_by);
        let record = store.record::<StepRecord>(RecordKind::Step, key).filter(same_layer);
        if let Some(record) = record.as_ref().filter(|record| record.layer.media_type != INTERMEDIATE.media_type()) {
            return Ok(record.layer());
        }
        self.layers.pull(&layer.descriptor)?;
        let mut writer = LayerWriter::new(Codec::default(), store.blob_writer()?);
        let blob = BufReader::new(store.open_blob(&layer.descriptor.digest)?);
        let recoded = recode_layer(blob, &mut writer).map_err(Error::from).and_then(|()| self.commit(Codec::default(), writer));
        let same = |(_, tar): &(Layer, LayerTar)| tar.diff_id == layer.diff_id;
        let Some((recoded, _)) = recoded.as_ref().ok().filter(|recoded| same(recoded)).cloned() else {
            // A damaged blob is removed, so that the next run makes the layer again.
            store.verify_blob(&layer.descriptor.digest)?;
            let (_, tar) = recoded.map_err(|error| self.layers.untrue(&layer, error))?;
            let mismatch = crate::image::Error::DiffIdMismatch { expected: layer.diff_id, actual: tar.diff_id };
            let mismatch = Error::Layer { layer: layer.descriptor.digest, place: None, error: Box::new(mismatch) };
            return Err(self.layers.untrue(&layer, mismatch));
        };
        if let Some(record) = record {
            store.put_record(RecordKind::Step, key, &StepRecord { layer: recoded.descriptor.clone(), ..record })?;
        }
        Ok(recoded)
    }

    fn commit(&self, codec: Codec, writer: LayerWriter<BlobWriter<'_>>) -> Result<(Layer, LayerTar), Error> {
        let root = self.layers.store.root();
        let failed = |source| Error::Io { action: "write a layer to", path: root.to_owned(), source };
        let (blob, tar) = writer.finish().map_err(failed)?;
        let (digest, size) = blob.commit()?;
        Ok((Layer { diff_id: tar.diff_id, descriptor: Descriptor::new(codec.media_type(), digest, size) }, tar))
    }
}
