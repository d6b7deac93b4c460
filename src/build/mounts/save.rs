//! Directory → entry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::engine::Engine;
use super::super::error::Error;
use super::super::fan_out::fan_out;
use super::super::push::Target;
use super::super::sandbox::Rung;
use super::super::share::Share;
use super::cut::{Cut, Made, cut};
use super::stamp::{Stamp, Stamps};
use super::{Found, Mounts, Used, key, lock};
use crate::cache::{Chunk, MOST_CHUNKS, MountEntry};
use crate::oci::{Digest, Reference};
use crate::registry::{self, Offer};
use crate::report::bytes_as_text;
use crate::store::Flight;

/// Chunks that are sent at the same time: a connection each.
const AT_ONCE: usize = 4;

/// One cache on its way to repositories.
struct Saving<'s> {
    mounts: &'s Mounts<'s>,
    engine: &'s Engine<'s>,
    share: &'s Share<'s>,
    id: &'s Digest,
    used: Used,
}

/// A repository that does not have the directory as it is.
struct Stale<'r> {
    repository: &'r Reference,
    /// What it has.
    entry: Option<MountEntry>,
}

impl Mounts<'_> {
    /// Gives the directory of a cache, if a RUN has mounted it and it has changed since it was last saved or restored, to the repositories
    /// of the services whose Steps mount it.
    pub(in super::super) fn save(&self, engine: &Engine, share: &Share, id: &Digest) {
        let Some(used) = lock(&self.used).get(id).cloned() else { return };
        let repositories = self.shared.written(&used.services);
        if repositories.is_empty() {
            return;
        }
        let saving = Saving { mounts: self, engine, share, id, used };
        let trusted = !matches!(lock(&self.found).get(id), Some(Found::Broken));
        let saved = match saving.save(&repositories, trusted) {
            // The repository does not have what its entry says.
            Err(error) if trusted && lacks_something(&error) => saving.save(&repositories, false),
            saved => saved,
        };
        match saved {
            Ok(()) | Err(Error::Cancelled) => {}
            Err(error) => self.shared.known.warn(&saving.about(), format!("cache mount {} is not saved: {error}", saving.used.target)),
        }
    }
}

impl Saving<'_> {
    /// `trusted`: what entries list is there.
    fn save(&self, repositories: &[Reference], trusted: bool) -> Result<(), Error> {
        let layers = &self.engine.layers;
        let (store, ids) = (layers.store, layers.ids());
        let directory = store.cache_mount(ids, self.id);
        let exclusive = self.used.exclusive || layers.rung == Rung::Chroot;
        let flight = exclusive.then(|| store.single_flight(Flight::CacheMount, self.id)).transpose()?;
        if !store.has_cache(ids, self.id) {
            return Ok(());
        }
        let stamp = Stamp::of(&directory)?;
        if stamp.bytes > self.mounts.limit {
            self.tell_size(stamp.bytes);
            return Ok(());
        }
        let mut stamps = Stamps::load(store, ids, self.id);
        let stale = self.stale(repositories.iter().filter(|repository| !stamps.holds(&repository.name(), &stamp)));
        if stale.is_empty() {
            return Ok(());
        }
        let known: Vec<BTreeMap<&str, &Chunk>> = stale.iter().map(|stale| stale.chunks(trusted)).collect();
        let spool = store.temp_dir()?;
        let is_known = |content: &str| known.iter().all(|known| known.contains_key(content));
        let cut = cut(&directory, layers.rung == Rung::SingleUid, &is_known, spool.path())?;
        // From here on the directory is not read any more.
        drop(flight);
        let size = cut.pieces.iter().map(|(_, size)| u64::from(*size)).sum();
        if size > self.mounts.limit || cut.pieces.len() > MOST_CHUNKS {
            self.tell_size(size);
            return Ok(());
        }
        let restored = match lock(&self.mounts.found).get(self.id) {
            Some(Found::At(place)) => Some(place.clone()),
            _ => None,
        };
        let mut others: Vec<Reference> = restored.into_iter().collect();
        for (stale, known) in stale.iter().zip(&known) {
            match self.give(stale, known, &cut, &stamp, &others) {
                Err(error) if trusted && lacks_something(&error) => return Err(error),
                Err(error @ Error::Registry(_)) => {
                    self.share.settle(stale.repository, Err(error));
                    continue;
                }
                given => given?,
            }
            stamps.note(store, ids, self.id, stale.repository.name(), &stamp);
            others.push(stale.repository.clone());
        }
        Ok(())
    }

    fn stale<'r>(&self, repositories: impl Iterator<Item = &'r Reference>) -> Vec<Stale<'r>> {
        let mut stale = Vec::new();
        for repository in repositories {
            match self.mounts.shared.mount_in(repository, &self.key()) {
                Ok(entry) => stale.push(Stale { repository, entry }),
                Err(error) => self.share.settle(repository, Err(error.into())),
            }
        }
        stale
    }

    /// Brings what is new to a repository, which may take it over from `others`, and then says so there.
    fn give(
        &self,
        Stale { repository, entry }: &Stale,
        known: &BTreeMap<&str, &Chunk>,
        cut: &Cut,
        stamp: &Stamp,
        others: &[Reference],
    ) -> Result<(), Error> {
        let chunk = |(content, _): &(String, u32)| {
            let made = || cut.made.get(content).map(|made| &made.chunk);
            known.get(content.as_str()).copied().or_else(made).cloned()
        };
        let Some(chunks) = cut.pieces.iter().map(chunk).collect::<Option<Vec<_>>>() else { return Ok(()) };
        let saved = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let new = MountEntry::new(chunks, stamp.root, stamp.files, stamp.bytes, saved);
        let missing: Vec<&Made> = cut.made.values().filter(|made| !known.contains_key(made.chunk.content.as_str())).collect();
        if missing.is_empty() && entry.as_ref().is_some_and(|old| old.is_same(&new)) {
            return Ok(());
        }
        let sent = bytes_as_text(self.send(&missing, repository, others)?);
        let service = self.used.services.first().map_or("", String::as_str);
        self.share.give_empty(Target { service, image: repository })?;
        self.mounts.shared.put_mount(repository, &self.key(), &new)?;
        let (target, place) = (&self.used.target, repository.name());
        let (missing, all) = (missing.len(), new.chunks.len());
        self.engine.layers.reporter.notice(format!("cache mount {target}: saved {missing} of {all} chunks, {sent} sent to {place}"));
        Ok(())
    }

    /// Bytes that had to be sent.
    fn send(&self, chunks: &[&Made], repository: &Reference, others: &[Reference]) -> Result<u64, Error> {
        let (client, sent) = (self.engine.layers.client, AtomicU64::new(0));
        let stop = || self.engine.supplies.cancel.is_cancelled();
        fan_out(chunks, AT_ONCE, |made| {
            if stop() {
                return Err(Error::Cancelled);
            }
            let blob = made.chunk.descriptor();
            if let Offer::Wants(upload) = client.offer_blob(repository, &blob.digest, others)? {
                client.upload_blob(repository, &blob, &made.path, upload, &|_| {}, &stop)?;
                sent.fetch_add(blob.size, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(sent.into_inner())
    }

    fn tell_size(&self, size: u64) {
        let (size, limit) = (bytes_as_text(size), bytes_as_text(self.mounts.limit));
        let text = format!("cache mount {} is not saved: it holds {size}, and mounts_size is {limit}", self.used.target);
        self.mounts.shared.known.notice(&self.about(), text);
    }

    fn about(&self) -> String {
        format!("saving {}", self.id)
    }

    fn key(&self) -> Digest {
        key(self.engine.layers.ids(), self.id)
    }
}

impl Stale<'_> {
    /// What need not be sent, by content.
    fn chunks(&self, trusted: bool) -> BTreeMap<&str, &Chunk> {
        let listed = self.entry.iter().filter(|_| trusted).flat_map(|entry| &entry.chunks);
        listed.map(|chunk| (chunk.content.as_str(), chunk)).collect()
    }
}

/// Whether a registry misses a blob that a manifest names: MANIFEST_BLOB_UNKNOWN, with 400 or 404.
fn lacks_something(error: &Error) -> bool {
    matches!(error, Error::Registry(registry::Error::NotFound { .. } | registry::Error::Status { status: 400..500, .. }))
}
