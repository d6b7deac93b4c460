//! Tables of contents of layers: kept where a layer is made or unpacked, had from cache repositories where it was not.

use std::io::BufReader;

use super::engine::Engine;
use super::error::Error;
use super::fan_out::fan_out;
use super::layers::Layers;
use crate::cache::Shared;
use crate::image::{Toc, TocWriter};
use crate::oci::{Descriptor, DiffId, Layer, media_type};
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

    /// The table of contents of a layer, if it is here.
    pub(super) fn toc(&self, layer: &DiffId) -> Option<Descriptor> {
        let here = |toc: &Descriptor| self.is_here(toc);
        self.origins.toc(layer).filter(here).or_else(|| self.store.record(RecordKind::Toc, &layer.0).filter(here))
    }

    fn write_failed(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.store.root().to_owned();
        move |source| Error::Io { action: "write a table of contents to", path: path.clone(), source }
    }
}

impl Engine<'_> {
    /// The tables of contents of layers, in their order, if all of them can be had: `services` say in whose cache repositories.
    pub(super) fn tocs(&self, layers: &[Layer], shared: Option<&Shared>, services: &[String]) -> Result<Option<Vec<Toc>>, Error> {
        let missing: Vec<&Layer> = layers.iter().filter(|layer| self.layers.toc(&layer.diff_id).is_none()).collect();
        fan_out(&missing, AT_ONCE, |layer| {
            let told = self.layers.origins.toc(&layer.diff_id).or_else(|| {
                let entry = shared?.toc(&layer.diff_id, services)?;
                self.layers.origins.note_cached(&entry.toc.digest, &entry.places);
                Some(entry.toc)
            });
            let Some(toc) = told else { return Ok(()) };
            self.layers.pull(&toc)?;
            self.layers.note_toc(&layer.diff_id, toc)
        })?;
        let here: Option<Vec<Descriptor>> = layers.iter().map(|layer| self.layers.toc(&layer.diff_id)).collect();
        let read = |toc: Descriptor| {
            // One that was pulled is not synced: what a crash has left of it may make sense. A damaged one is removed.
            self.layers.store.verify_blob(&toc.digest)?;
            Ok(Toc::read(BufReader::new(self.layers.store.open_blob(&toc.digest)?))?)
        };
        here.map(|tocs| tocs.into_iter().map(read).collect()).transpose()
    }
}
