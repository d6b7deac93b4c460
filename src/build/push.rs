//! Pushes what is finished. A blob moves at most once a run and registry: to further repositories it is mounted.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::fan_out::fan_out;
use super::finish::{Built, document};
use super::layers::Layers;
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry::Pushed;
use crate::report::{Event, PushOutcome, Transfer};

/// What a push did, in layers.
#[derive(Debug, Default)]
pub struct PushCounts {
    pub pushed: AtomicU64,
    pub mounted: AtomicU64,
    pub skipped: AtomicU64,
}

/// Repositories of a registry that are known to have a blob. Held while the blob is on its way to the first of them.
type Places = Arc<Mutex<Vec<Reference>>>;

pub struct Pusher<'a> {
    pub layers: Layers<'a>,
    /// `host[:port][/prefix]` that mirrors a registry, by its host: bases that came through it lie there, too.
    mirrors: BTreeMap<String, String>,
    places: Mutex<HashMap<(String, Digest), Places>>,
}

impl<'a> Pusher<'a> {
    pub fn new(layers: Layers<'a>, mirrors: BTreeMap<String, String>) -> Self {
        Self { layers, mirrors, places: Mutex::default() }
    }

    /// Pushes a service: layers and configs first, then manifests, then its tags. A tag that is right already is not touched.
    pub fn push(&self, service: &str, image: &Reference, tags: &[String], built: &[Built], counts: &PushCounts) -> Result<Digest, Error> {
        let client = self.layers.client;
        let (descriptor, bytes) = document(&self.layers, built)?;
        let layer_count: u64 = built.iter().map(|image| image.record.layers.len() as u64).sum();
        let mut stale = Vec::new();
        for reference in tags.iter().map(|tag| image.with_tag(tag)) {
            match client.head_manifest(&reference)? {
                Some(there) if there.digest == descriptor.digest => self.tell(service, reference, PushOutcome::Unchanged),
                _ => stale.push(reference),
            }
        }
        // A manifest that has a tag has all its blobs.
        if stale.len() < tags.len() {
            counts.skipped.fetch_add(layer_count, Ordering::Relaxed);
        } else {
            for one in built {
                self.push_blobs(service, image, one, counts)?;
                if built.len() > 1 {
                    let manifest = &one.record.manifest;
                    let bytes = self.layers.store.read_blob(&manifest.digest)?;
                    client.put_manifest(&image.with_digest(manifest.digest), &bytes, &manifest.media_type)?;
                }
            }
        }
        for reference in stale {
            client.put_manifest(&reference, &bytes, &descriptor.media_type)?;
            self.tell(service, reference, PushOutcome::Pushed);
        }
        Ok(descriptor.digest)
    }

    fn tell(&self, service: &str, reference: Reference, outcome: PushOutcome) {
        self.layers.reporter.emit(Event::PushFinished { service: service.to_owned(), reference, outcome });
    }

    /// Layers at the same time, then the config.
    fn push_blobs(&self, service: &str, image: &Reference, built: &Built, counts: &PushCounts) -> Result<(), Error> {
        const AT_ONCE: usize = 4;
        fan_out(&built.record.layers, AT_ONCE, |layer| {
            let count = match self.push_blob(service, image, &layer.descriptor, built.base)? {
                Pushed::Existed => &counts.skipped,
                Pushed::Mounted => &counts.mounted,
                Pushed::Uploaded => &counts.pushed,
            };
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<(), Error>(())
        })?;
        self.push_blob(service, image, &built.record.config, None).map(drop)
    }

    fn push_blob(&self, service: &str, image: &Reference, blob: &Descriptor, base: Option<&Reference>) -> Result<Pushed, Error> {
        let place = (image.registry.clone(), blob.digest);
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(place).or_default().clone();
        let mut places = places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mount_from = places.clone();
        mount_from.extend(base.into_iter().flat_map(|base| [Some(base.clone()), self.mirrored(base)]).flatten());
        let progress = |bytes| {
            let (service, digest) = (service.to_owned(), blob.digest);
            self.layers.reporter.emit(Event::LayerProgress { service, transfer: Transfer::Push, digest, bytes, total: Some(blob.size) });
        };
        let body = self.layers.store.blob_path(&blob.digest);
        let here = self.layers.store.blob_size(&blob.digest) == Some(blob.size);
        let push = || self.layers.client.push_blob(image, blob, &body, &mount_from, &progress);
        let pushed = match (push(), base) {
            (Ok(pushed), _) => pushed,
            // A layer of the base that no Step ran on, and that the registry neither has nor mounts.
            (Err(_), Some(base)) if !here => {
                self.layers.pull(blob, base)?;
                push()?
            }
            (Err(error), _) => {
                // A registry refuses what does not match its digest. Say so, and make room for a good copy.
                self.layers.store.verify_blob(&blob.digest)?;
                return Err(error.into());
            }
        };
        places.push(image.clone());
        Ok(pushed)
    }

    /// Where a base lies in the mirror of its registry.
    fn mirrored(&self, base: &Reference) -> Option<Reference> {
        let mirror = self.mirrors.get(&base.registry)?;
        let (host, prefix) = mirror.split_once('/').map_or((mirror.as_str(), None), |(host, prefix)| (host, Some(prefix)));
        let repository =
            prefix.map_or_else(|| base.repository.clone(), |prefix| format!("{}/{}", prefix.trim_matches('/'), base.repository));
        Some(Reference { registry: host.to_owned(), repository, tag: None, digest: None })
    }
}
