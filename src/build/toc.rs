//! Tables of contents of layers: kept where a layer is made or unpacked, had from cache repositories where it was not.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::{Mutex, PoisonError};

use super::engine::Engine;
use super::error::Error;
use super::fan_out::fan_out;
use super::layers::Layers;
use crate::cache::Claims;
use crate::image::{Toc, TocWriter};
use crate::oci::{Descriptor, DiffId, Layer, media_type};
use crate::plan::{CacheKey, Step};
use crate::store::{BlobWriter, RecordKind};

/// Entries of the tables of contents of a state: each takes some 400 bytes of memory. Beyond that its layers are unpacked.
const MOST_ENTRIES: usize = 500_000;
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
    pub(super) fn toc(&self, layer: &Layer) -> Option<Descriptor> {
        let here = |toc: &Descriptor| self.is_here(toc) && self.may_use_layer(layer);
        let toc =
            self.origins.toc(&layer.diff_id).filter(here).or_else(|| self.store.record(RecordKind::Toc, &layer.diff_id.0).filter(here))?;
        self.origins.note_had(&toc.digest);
        Some(toc)
    }

    /// The same of a layer that a Step has made somewhere: else as a cache repository said that it is, of this Step alone.
    pub(super) fn toc_of_step(&self, step: &CacheKey, layer: &Layer) -> Option<(Descriptor, Claims)> {
        self.toc(layer).map(|toc| (toc, Claims::new())).or_else(|| self.origins.claimed_toc(step, &layer.diff_id))
    }

    fn write_failed(&self) -> impl Fn(std::io::Error) -> Error + use<> {
        let path = self.store.root().to_owned();
        move |source| Error::Io { action: "write a table of contents to", path: path.clone(), source }
    }
}

impl Engine<'_> {
    /// The tables of contents of a state's layers, in their order, if all of them can be had, and on whose word they are that: in the cache
    /// repositories of the services of `user`, the Step that works on the state. One that asks no cache believes none.
    pub(super) fn tocs(&self, layers: &[StateLayer], user: &Step) -> Result<Option<(Vec<Toc>, Claims)>, Error> {
        let (asked, services) = (self.asked.filter(|_| !user.no_cache), &user.services);
        let known = |of: &StateLayer| {
            let (layer, diff_id) = (&of.layer, &of.layer.diff_id);
            let here = match of.step {
                Some(step) if !user.no_cache => self.layers.toc_of_step(&step, layer).or_else(|| {
                    let entry = asked?.step(&step, services).filter(|entry| entry.record.diff_id == *diff_id)?;
                    self.layers.origins.note_step(&step, &entry);
                    self.layers.toc_of_step(&step, layer)
                }),
                _ => self.layers.toc(layer).map(|toc| (toc, Claims::new())),
            };
            here.or_else(|| {
                let entry = asked?.toc(diff_id, services)?;
                self.layers.origins.note_toc_claimed(&entry.toc, &entry.places);
                Some((entry.toc, entry.claimed_by))
            })
        };
        let tocs: Mutex<BTreeMap<usize, (Descriptor, Claims)>> = Mutex::default();
        let numbered: Vec<(usize, &StateLayer)> = layers.iter().enumerate().collect();
        fan_out(&numbered, AT_ONCE, |(at, of)| {
            let Some(toc) = known(of) else { return Ok(()) };
            self.layers.pull(&toc.0)?;
            tocs.lock().unwrap_or_else(PoisonError::into_inner).insert(*at, toc);
            Ok::<(), Error>(())
        })?;
        let tocs = tocs.into_inner().unwrap_or_else(PoisonError::into_inner);
        if tocs.len() < layers.len() {
            return Ok(None);
        }
        let claims = tocs.values().flat_map(|(_, claims)| claims.iter().cloned()).collect();
        let (mut read, mut entries): (Vec<Toc>, usize) = Default::default();
        for (toc, _) in tocs.into_values() {
            // One that was pulled is not synced: what a crash has left of it may make sense. A damaged one is removed.
            self.layers.store.verify_blob(&toc.digest)?;
            let toc = Toc::read(BufReader::new(self.layers.store.open_blob(&toc.digest)?))?;
            entries += toc.count();
            if entries > MOST_ENTRIES {
                return Ok(None);
            }
            read.push(toc);
        }
        Ok(Some((read, claims)))
    }
}

/// A layer of a state, and the Step that makes it if it is not the base's.
pub(super) struct StateLayer {
    pub layer: Layer,
    pub step: Option<CacheKey>,
}
