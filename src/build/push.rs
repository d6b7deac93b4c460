//! Pushes what is finished, and layers ahead of it. A blob moves at most once a run and registry: to further repositories it is mounted.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::fan_out::fan_out;
use super::finish::{Built, document};
use super::layers::Layers;
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry::{self, Offer, Pushed};
use crate::report::{Event, PushOutcome, Transfer};

/// What a push did, in layers.
#[derive(Debug, Default)]
pub struct PushCounts {
    pub pushed: AtomicU64,
    pub mounted: AtomicU64,
    pub skipped: AtomicU64,
}

/// Where a blob belongs.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub service: &'a str,
    /// The repository.
    pub image: &'a Reference,
    /// What the blob's image starts with: that repository may have the blob, too.
    pub base: Option<&'a Reference>,
}

/// What this run knows of a blob in one registry. Locked while it is on its way to one of the repositories there.
#[derive(Default)]
struct Known {
    /// Repositories that have it.
    places: Vec<Reference>,
    /// What came of sending it ahead, by repository, until an image asks.
    ahead: HashMap<String, Result<Pushed, Error>>,
}

type Shared = Arc<Mutex<Known>>;

pub struct Pusher<'a> {
    pub layers: Layers<'a>,
    /// `host[:port][/prefix]` that mirrors a registry, by its host: bases that came through it lie there, too.
    mirrors: BTreeMap<String, String>,
    /// By registry and blob.
    known: Mutex<HashMap<(String, Digest), Shared>>,
}

impl<'a> Pusher<'a> {
    pub fn new(layers: Layers<'a>, mirrors: BTreeMap<String, String>) -> Self {
        Self { layers, mirrors, known: Mutex::default() }
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
                self.push_blobs(Target { service, image, base: one.base }, one, counts)?;
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

    /// Pushes a layer before its image is finished, unless it is there. What came of it is the image's to count, or to fail by. Ends
    /// early, as if it had not begun, where `stop` holds.
    pub fn send_ahead(&self, target: Target, layer: &Descriptor, stop: &dyn Fn() -> bool) {
        let known = self.known(target.image, layer);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.has(target.image) || known.ahead.contains_key(&target.image.name()) {
            return;
        }
        match self.send(&mut known, target, layer, stop) {
            Err(Error::Registry(registry::Error::Stopped { .. })) => {}
            outcome => drop(known.ahead.insert(target.image.name(), outcome)),
        }
    }

    fn tell(&self, service: &str, reference: Reference, outcome: PushOutcome) {
        self.layers.reporter.emit(Event::PushFinished { service: service.to_owned(), reference, outcome });
    }

    /// Layers at the same time, then the config.
    fn push_blobs(&self, target: Target, built: &Built, counts: &PushCounts) -> Result<(), Error> {
        const AT_ONCE: usize = 4;
        fan_out(&built.record.layers, AT_ONCE, |layer| {
            let count = match self.push_blob(target, &layer.descriptor)? {
                Pushed::Existed => &counts.skipped,
                Pushed::Mounted => &counts.mounted,
                Pushed::Uploaded => &counts.pushed,
            };
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<(), Error>(())
        })?;
        self.push_blob(Target { base: None, ..target }, &built.record.config).map(drop)
    }

    fn push_blob(&self, target: Target, blob: &Descriptor) -> Result<Pushed, Error> {
        let known = self.known(target.image, blob);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.ahead.remove(&target.image.name()) {
            Some(outcome) => outcome,
            None => self.send(&mut known, target, blob, &|| false),
        }
    }

    fn known(&self, image: &Reference, blob: &Descriptor) -> Shared {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).entry((image.registry.clone(), blob.digest)).or_default().clone()
    }

    fn send(&self, known: &mut Known, target: Target, blob: &Descriptor, stop: &dyn Fn() -> bool) -> Result<Pushed, Error> {
        let Target { service, image, base } = target;
        if known.has(image) {
            return Ok(Pushed::Existed);
        }
        let mut mount_from = known.places.clone();
        mount_from.extend(base.into_iter().flat_map(|base| [Some(base.clone()), self.mirrored(base)]).flatten());
        let pushed = match self.layers.client.offer_blob(image, &blob.digest, &mount_from)? {
            Offer::Has(pushed) => pushed,
            Offer::Wants(upload) => {
                // A layer of the base may not be here: it is pulled where a Step runs on it, or for this.
                base.map_or(Ok(()), |base| self.layers.pull(blob, base))?;
                let progress = |bytes| {
                    let (service, digest) = (service.to_owned(), blob.digest);
                    let (transfer, total) = (Transfer::Push, Some(blob.size));
                    self.layers.reporter.emit(Event::LayerProgress { service, transfer, digest, bytes, total });
                };
                let body = self.layers.store.blob_path(&blob.digest);
                match self.layers.client.upload_blob(image, blob, &body, upload, &progress, stop) {
                    Err(error @ registry::Error::Stopped { .. }) => return Err(error.into()),
                    Err(error) => {
                        // A registry refuses what does not match its digest. Say so, and make room for a good copy.
                        self.layers.store.verify_blob(&blob.digest)?;
                        return Err(error.into());
                    }
                    Ok(()) => Pushed::Uploaded,
                }
            }
        };
        known.places.push(image.clone());
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

impl Known {
    fn has(&self, image: &Reference) -> bool {
        self.places.iter().any(|place| place.same_repository(image))
    }
}
