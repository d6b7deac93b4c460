//! Tables of contents of layers: kept where a layer is made or unpacked, had from cache repositories where it was not.

use std::io::BufReader;

use super::engine::Engine;
use super::error::Error;
use super::fan_out::fan_out;
use super::layers::Layers;
use crate::cache::Shared;
use crate::image::{Toc, TocWriter};
use crate::oci::{Descriptor, DiffId, Digest, Layer, media_type};
use crate::plan::CacheKey;
use crate::store::{BlobWriter, RecordKind};

/// Requests at the same time.
const AT_ONCE: usize = 6;

impl<'a> Layers<'a> {
    pub(super) fn toc_writer(&self) -> Result<TocWriter<BlobWriter<'a>>, Error> {
        TocWriter::new(self.store.blob_writer()?).map_err(self.write_failed())
    }

    /// Keeps the table of contents of a layer.
    pub(super) fn keep_toc(&self, layer: &DiffId, toc: TocWriter<BlobWriter>) -> Result<(), Error> {
        let (digest, size) = toc.finish().map_err(self.write_failed())?.commit()?;
        self.note_toc(layer, Descriptor::new(media_type::BRIK_TOC, digest, size))
    }

    fn note_toc(&self, layer: &DiffId, toc: Descriptor) -> Result<(), Error> {
        self.store.put_record_soon(RecordKind::Toc, &layer.0, &toc)?;
        self.origins.note_toc(*layer, toc);
        Ok(())
    }

    /// The table of contents of a layer that was made or unpacked here, if it is here.
    pub(super) fn toc(&self, layer: &DiffId) -> Option<Descriptor> {
        let here = |toc: &Descriptor| self.is_here(toc);
        self.origins.toc(layer).filter(here).or_else(|| self.store.record(RecordKind::Toc, &layer.0).filter(here))
    }

    /// The same of a layer that a Step has made somewhere: else as a cache repository said that it is. That is kept, and believed, of this
    /// Step alone.
    pub(super) fn toc_of_step(&self, step: &CacheKey, layer: &DiffId) -> Option<Descriptor> {
        let claimed = || self.origins.claimed_toc(step, layer).or_else(|| self.store.record(RecordKind::Toc, &claim(step, layer)));
        self.toc(layer).or_else(claimed)
    }

    fn write_failed(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.store.root().to_owned();
        move |source| Error::Io { action: "write a table of contents to", path: path.clone(), source }
    }
}

impl Engine<'_> {
    /// The tables of contents of a state's layers, in their order, if all of them can be had: `services` say in whose cache repositories.
    pub(super) fn tocs(&self, layers: &[StateLayer], shared: Option<&Shared>, services: &[String]) -> Result<Option<Vec<Toc>>, Error> {
        let known = |of: &StateLayer| {
            let diff_id = &of.layer.diff_id;
            let here = of.step.map_or_else(|| self.layers.toc(diff_id), |step| self.layers.toc_of_step(&step, diff_id));
            here.or_else(|| {
                let entry = shared?.toc(diff_id, services)?;
                self.layers.origins.note_cached(&entry.toc.digest, &entry.places);
                Some(entry.toc)
            })
        };
        fan_out(layers, AT_ONCE, |of| {
            let Some(toc) = known(of).filter(|toc| !self.layers.is_here(toc)) else { return Ok(()) };
            self.layers.pull(&toc)?;
            let Some(step) = of.step.filter(|step| self.layers.origins.claimed_toc(step, &of.layer.diff_id).as_ref() == Some(&toc)) else {
                return Ok(());
            };
            Ok::<(), Error>(self.layers.store.put_record_soon(RecordKind::Toc, &claim(&step, &of.layer.diff_id), &toc)?)
        })?;
        let here: Option<Vec<Descriptor>> = layers.iter().map(|of| known(of).filter(|toc| self.layers.is_here(toc))).collect();
        let read = |toc: Descriptor| {
            // One that was pulled is not synced: what a crash has left of it may make sense. A damaged one is removed.
            self.layers.store.verify_blob(&toc.digest)?;
            Ok(Toc::read(BufReader::new(self.layers.store.open_blob(&toc.digest)?))?)
        };
        here.map(|tocs| tocs.into_iter().map(read).collect()).transpose()
    }
}

/// A layer of a state, and the Step that makes it if it is not the base's.
pub(super) struct StateLayer {
    pub layer: Layer,
    pub step: Option<CacheKey>,
}

/// Under which the store remembers what was said of the layer of a Step.
fn claim(step: &CacheKey, layer: &DiffId) -> Digest {
    Digest::of(format!("{} {layer}", step.0).as_bytes())
}
