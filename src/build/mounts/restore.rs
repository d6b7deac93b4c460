//! Entry → directory.

use std::path::Path;

use rustix::fs::{Gid, Uid, chown};

use super::super::engine::{make_dir, set_mode};
use super::super::error::Error;
use super::super::layers::Layers;
use super::super::sandbox::Rung;
use super::arriving::arriving;
use super::stamp::{Stamp, Stamps};
use super::{Found, Mounts, key, lock};
use crate::cache::MountEntry;
use crate::image::{ArchiveOptions, Limits, extract_archive};
use crate::oci::{Digest, Reference};
use crate::report::bytes_as_text;
use crate::store::Flight;

impl Mounts<'_> {
    /// Makes the directory of a cache that the store does not have, if a repository of `services` has it and it can be had. Others that want
    /// the same wait meanwhile.
    pub(in super::super) fn restore(&self, layers: &Layers, id: &Digest, target: &str, services: &[String]) -> Result<(), Error> {
        let is_here = || layers.store.has_cache(layers.ids(), id);
        if is_here() {
            return Ok(());
        }
        let _flight = layers.store.single_flight(Flight::Restore, id)?;
        if is_here() {
            return Ok(());
        }
        let Some(entry) = self.shared.mount(&key(layers.ids(), id), services) else { return Ok(()) };
        let Some(place) = entry.place() else { return Ok(()) };
        let about = format!("cache mount {id}");
        if entry.tar_size() > self.limit {
            let (size, limit) = (bytes_as_text(entry.tar_size()), bytes_as_text(self.limit));
            self.shared.known.notice(&about, format!("cache mount {target} is not restored: {size} are more than mounts_size, {limit}"));
            return Ok(());
        }
        let found = match unpack(layers, id, place, &entry) {
            Ok(()) => {
                let (size, chunks) = (bytes_as_text(entry.packed_size()), entry.chunks.len());
                layers.reporter.notice(format!("cache mount {target}: restored {size} ({chunks} chunks)"));
                Found::At(place.clone())
            }
            Err(error) => {
                self.shared.known.warn(&about, format!("cache mount {target} is not restored: {error}"));
                Found::Broken
            }
        };
        lock(&self.found).insert(*id, found);
        Ok(())
    }
}

fn unpack(layers: &Layers, id: &Digest, place: &Reference, entry: &MountEntry) -> Result<(), Error> {
    let (store, ids) = (layers.store, layers.ids());
    let work = store.temp_dir()?;
    let fresh = work.path().join("cache");
    make_dir(&fresh)?;
    let options = ArchiveOptions {
        limits: Limits { bytes: entry.tar_size(), ..Limits::default() },
        single_uid: layers.rung == Rung::SingleUid,
        owner: None,
    };
    arriving(layers.client, place, entry, |chunks| Ok(extract_archive(chunks, &fresh, b"", &options)?))?;
    describe(&fresh, entry, layers.rung)?;
    store.commit_cache(ids, id, &fresh)?;
    let stamp = Stamp::of(&store.cache_mount(ids, id))?;
    Stamps::load(store, ids, id).note(store, ids, id, place.name(), &stamp);
    Ok(())
}

/// Owner and mode of the directory itself.
fn describe(directory: &Path, entry: &MountEntry, rung: Rung) -> Result<(), Error> {
    match chown(directory, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))) {
        Err(error) if rung != Rung::SingleUid => {
            Err(Error::Io { action: "set the owner of", path: directory.to_owned(), source: error.into() })
        }
        // After the owner, whose change takes set-id bits away.
        _ => set_mode(directory, entry.mode),
    }
}
