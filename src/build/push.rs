//! Pushes what is finished, and layers ahead of it. A blob moves at most once a run and registry: to further repositories it is mounted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::fan_out::fan_out;
use super::finish::{Built, document};
use super::layers::Layers;
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry::{self, Client, Offer, Pushed, Upload};
use crate::report::{Event, PushOutcome, Transfer};
use crate::store;

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
}

/// What this run knows of a blob in one registry. Locked while it is on its way to one of the repositories there.
#[derive(Default)]
struct Known {
    /// Repositories that have it.
    places: Vec<Reference>,
    /// In bytes, as it was measured.
    size: Option<u64>,
    /// What came of sending it ahead, by repository, until an image asks.
    ahead: HashMap<String, Result<Pushed, Error>>,
}

type Shared = Arc<Mutex<Known>>;

pub struct Pusher<'a> {
    pub layers: Layers<'a>,
    /// `host[:port][/prefix]` that mirrors a registry, by its host: bases that came through it lie there, too.
    mirrors: BTreeMap<String, String>,
    /// Where images are pushed to, by service.
    repositories: BTreeMap<&'a str, &'a Reference>,
    /// By registry and blob.
    known: Mutex<HashMap<(String, Digest), Shared>>,
    /// Services of which a tag was written.
    pushed: Mutex<BTreeSet<String>>,
}

impl<'a> Pusher<'a> {
    pub fn new(layers: Layers<'a>, mirrors: BTreeMap<String, String>, repositories: BTreeMap<&'a str, &'a Reference>) -> Self {
        Self { layers, mirrors, repositories, known: Mutex::default(), pushed: Mutex::default() }
    }

    /// Where the images of a service are pushed to.
    pub fn repository(&self, service: &str) -> Option<&'a Reference> {
        self.repositories.get(service).copied()
    }

    /// Pushes a service: layers and configs first, then manifests, then its tags. A tag that is right already is not touched.
    pub fn push(&self, service: &str, image: &Reference, tags: &[String], built: &[Built], counts: &PushCounts) -> Result<Digest, Error> {
        let client = self.layers.client;
        let (descriptor, bytes) = document(&self.layers, built)?;
        let layer_count: u64 = built.iter().map(|image| image.record.layers.len() as u64).sum();
        let mut stale = Vec::new();
        for reference in tags.iter().map(|tag| image.with_tag(tag)) {
            match client.head_before_push(&reference)? {
                Some(there) if there.digest == descriptor.digest => self.tell(service, reference, PushOutcome::Unchanged),
                _ => stale.push(reference),
            }
        }
        // A manifest that is there has all its blobs.
        let there = stale.len() < tags.len() || client.head_before_push(&image.with_digest(descriptor.digest))?.is_some();
        if there {
            counts.skipped.fetch_add(layer_count, Ordering::Relaxed);
        } else {
            for one in built {
                self.push_blobs(Target { service, image }, one, counts)?;
                if built.len() > 1 {
                    let manifest = &one.record.manifest;
                    let bytes = self.layers.store.read_blob(&manifest.digest)?;
                    client.put_manifest(&image.with_digest(manifest.digest), &bytes, &manifest.media_type)?;
                }
            }
        }
        if !stale.is_empty() {
            self.pushed.lock().unwrap_or_else(PoisonError::into_inner).insert(service.to_owned());
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

    /// Whether a tag of the service was written in this run.
    pub fn has_pushed(&self, service: &str) -> bool {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).contains(service)
    }

    /// Brings a blob to a cache repository without sending it to the registry a second time. Where it is instead, if the registry takes it
    /// over neither from where this run knows it to be nor from `also`, which may have it: nowhere, if the repository has it now. `new`: the repository probably lacks it.
    pub fn give(&self, target: Target, blob: &Descriptor, also: &[&Reference], new: bool) -> Result<Vec<Reference>, Error> {
        let known = self.known(target.image, blob);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits long for a cache.
        let client = self.layers.client.hasty();
        let elsewhere = if known.has(target.image) { Vec::new() } else { self.bring(&client, &mut known, target, blob, also, new)? };
        let places: Vec<&Reference> = if elsewhere.is_empty() { vec![target.image] } else { elsewhere.iter().collect() };
        match self.measure(&client, &mut known, &places, blob) {
            Ok(true) => Ok(elsewhere),
            Err(error) if elsewhere.is_empty() && !matches!(error, Error::Lost { .. }) => Err(error),
            _ => Err(store::Error::Missing { digest: blob.digest }.into()),
        }
    }

    /// The same, whatever its size.
    fn bring(
        &self,
        client: &Client,
        known: &mut Known,
        target: Target,
        blob: &Descriptor,
        also: &[&Reference],
        new: bool,
    ) -> Result<Vec<Reference>, Error> {
        // Others only say that they have what was made here.
        let origins = if self.layers.origins.is_made(&blob.digest) { Vec::new() } else { self.layers.origins.places(&blob.digest) };
        let places = known.places.iter().chain(&origins).chain(also.iter().copied()).cloned().collect::<Vec<_>>();
        let offer = match new {
            true => client.offer_new_blob(target.image, &blob.digest, &places)?,
            false => client.offer_blob(target.image, &blob.digest, &places)?,
        };
        match offer {
            Offer::Has(_, told) => known.note_size(blob, told),
            Offer::Wants(_) if self.layers.origins.is_only_claimed(blob) && known.places.is_empty() && origins.is_empty() => {
                return Err(store::Error::Missing { digest: blob.digest }.into());
            }
            Offer::Wants(upload) if known.places.is_empty() && origins.is_empty() => {
                self.upload(client, target, blob, upload, &|| false)?
            }
            Offer::Wants(_) => return Ok(known.places.iter().chain(&origins).cloned().collect()),
        }
        known.places.push(target.image.clone());
        Ok(Vec::new())
    }

    /// Brings a blob of a few bytes to a cache repository, which is to have it itself.
    pub fn give_here(&self, target: Target, blob: &Descriptor, new: bool) -> Result<(), Error> {
        if let [elsewhere, ..] = &self.give(target, blob, &[], new)?[..] {
            let client = self.layers.client.hasty();
            if let Offer::Wants(upload) = client.offer_blob(target.image, &blob.digest, std::slice::from_ref(elsewhere))? {
                self.upload(&client, target, blob, upload, &|| false)?;
            }
            self.known(target.image, blob).lock().unwrap_or_else(PoisonError::into_inner).places.push(target.image.clone());
        }
        Ok(())
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
        self.push_blob(target, &built.record.config).map(drop)
    }

    fn push_blob(&self, target: Target, blob: &Descriptor) -> Result<Pushed, Error> {
        let known = self.known(target.image, blob);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let pushed = match known.ahead.remove(&target.image.name()) {
            Some(outcome) => outcome?,
            None => self.send(&mut known, target, blob, &|| false)?,
        };
        self.measure(self.layers.client, &mut known, &[target.image], blob).map(|_| pushed)
    }

    /// Compares the size that a manifest is going to name with what the blob has in the first of `places` that has it, where only a cache
    /// repository says it. Whether any has.
    fn measure(&self, client: &Client, known: &mut Known, places: &[&Reference], blob: &Descriptor) -> Result<bool, Error> {
        known.note_size(blob, self.layers.store.blob_size(&blob.digest));
        if !self.layers.origins.is_from_cache(blob) || known.size == Some(blob.size) {
            return Ok(true);
        }
        let mut unknown = Ok(false);
        for place in places {
            match client.blob_is_as_long(place, blob) {
                Ok(true) => {
                    known.note_size(blob, Some(blob.size));
                    return Ok(true);
                }
                Ok(false) => {}
                Err(error @ (registry::Error::WrongSize { .. } | registry::Error::WrongDigest { .. })) => {
                    return Err(self.layers.lost(blob, error.into()));
                }
                Err(error) => unknown = Err(error.into()),
            }
        }
        unknown
    }

    fn known(&self, image: &Reference, blob: &Descriptor) -> Shared {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).entry((image.registry.clone(), blob.digest)).or_default().clone()
    }

    fn send(&self, known: &mut Known, target: Target, blob: &Descriptor, stop: &dyn Fn() -> bool) -> Result<Pushed, Error> {
        let Target { image, .. } = target;
        if known.has(image) {
            return Ok(Pushed::Existed);
        }
        let mut mount_from = known.places.clone();
        let origins = self.layers.origins.places(&blob.digest);
        mount_from.extend(origins.iter().flat_map(|origin| [Some(origin.clone()), self.mirrored(origin)]).flatten());
        let pushed = match self.layers.client.offer_blob(image, &blob.digest, &mount_from)? {
            Offer::Has(pushed, told) => {
                known.note_size(blob, told);
                pushed
            }
            Offer::Wants(upload) => {
                let is_ours = match self.layers.is_here(blob) {
                    true => !self.layers.origins.is_only_claimed(blob),
                    false => self.layers.origins.is_wanted(&blob.digest),
                };
                if is_ours {
                    self.layers.pull(blob)?;
                    match self.upload(self.layers.client, target, blob, upload, stop) {
                        // The damaged copy is gone from the store, and a good one is where it came from.
                        Err(Error::Store(store::Error::Damaged { .. })) if !origins.is_empty() => {
                            return self.send(known, target, blob, stop);
                        }
                        uploaded => uploaded?,
                    }
                } else {
                    self.copy(known, target, blob, &origins, upload, stop)?;
                }
                Pushed::Uploaded
            }
        };
        known.places.push(image.clone());
        Ok(pushed)
    }

    /// From repository to repository, past the store: no Step needs it here.
    fn copy(
        &self,
        known: &mut Known,
        target: Target,
        blob: &Descriptor,
        origins: &[Reference],
        upload: Upload,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let client = self.layers.client;
        let progress = self.progress(target, blob);
        let mut upload = Some(upload);
        let mut failed = Error::from(store::Error::Missing { digest: blob.digest });
        for origin in origins {
            let session = match upload.take() {
                Some(upload) => upload,
                None => match client.offer_blob(target.image, &blob.digest, &[])? {
                    Offer::Has(..) => return Ok(()),
                    Offer::Wants(upload) => upload,
                },
            };
            match client.copy_blob(origin, target.image, blob, session, &progress, stop) {
                Err(error @ registry::Error::Source { .. }) => failed = error.into(),
                done => {
                    known.note_size(blob, done.is_ok().then_some(blob.size));
                    return Ok(done?);
                }
            }
        }
        Err(self.layers.lost(blob, failed))
    }

    fn progress(&self, target: Target<'_>, blob: &Descriptor) -> impl Fn(u64) {
        let (service, digest, total) = (target.service.to_owned(), blob.digest, Some(blob.size));
        move |bytes| {
            let service = service.clone();
            self.layers.reporter.emit(Event::LayerProgress { service, transfer: Transfer::Push, digest, bytes, total, mirror: None });
        }
    }

    fn upload(&self, client: &Client, target: Target, blob: &Descriptor, upload: Upload, stop: &dyn Fn() -> bool) -> Result<(), Error> {
        let progress = self.progress(target, blob);
        let body = self.layers.store.blob_path(&blob.digest);
        match client.upload_blob(target.image, blob, &body, upload, &progress, stop) {
            Err(error @ registry::Error::Stopped { .. }) => Err(error.into()),
            Err(error) => {
                // A registry refuses what does not match its digest. Say so, and make room for a good copy.
                self.layers.store.verify_blob(&blob.digest)?;
                Err(error.into())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Where a repository lies in the mirror of its registry.
    fn mirrored(&self, base: &Reference) -> Option<Reference> {
        let mirror = self.mirrors.get(&base.registry)?;
        let (host, prefix) = mirror.split_once('/').map_or((mirror.as_str(), None), |(host, prefix)| (host, Some(prefix)));
        let repository =
            prefix.map_or_else(|| base.repository.clone(), |prefix| format!("{}/{}", prefix.trim_matches('/'), base.repository));
        Some(Reference { registry: host.to_owned(), repository, tag: None, digest: None })
    }
}

impl Known {
    /// Notes that a blob is as long as is said.
    fn note_size(&mut self, blob: &Descriptor, size: Option<u64>) {
        self.size = size.filter(|size| *size == blob.size).or(self.size);
    }

    fn has(&self, image: &Reference) -> bool {
        self.places.iter().any(|place| place.same_repository(image))
    }
}
