//! Finished images: assembled from layers, recorded, pushed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::engine::{Engine, base_layers};
use super::error::Error;
use super::fan_out::fan_out;
use super::layers::Layers;
use super::lookup::ImageRecord;
use crate::image::{Format, assemble};
use crate::oci::{Descriptor, Digest, Index, Platform, Reference, media_type};
use crate::plan::{ImagePlan, Plan};
use crate::registry::Pushed;
use crate::report::{Event, PushOutcome, Transfer};
use crate::store::RecordKind;

/// Makes config and manifest of an image whose layers are known, and records them.
pub fn finish(engine: &Engine, image: &ImagePlan, format: Format) -> Result<ImageRecord, Error> {
    let (base, steps) = engine.plan.chain(image.root);
    let mut layers = base.map_or_else(Vec::new, |base| base_layers(&engine.plan.bases[base]));
    for step in steps {
        layers.push(engine.layer(step).ok_or(Error::Cancelled)?.clone());
    }
    let assembled = assemble(&image.config, &layers, format)?;
    let store = engine.layers.store;
    store.put_blob(&assembled.config)?;
    store.put_blob(&assembled.manifest)?;
    let record = ImageRecord { manifest: assembled.manifest_descriptor, config: assembled.config_descriptor, layers };
    store.put_record(RecordKind::Image, &image.key.0, &record)?;
    Ok(record)
}

/// One image of a service, for one platform.
pub struct Built<'a> {
    pub platform: &'a Platform,
    pub record: &'a ImageRecord,
    /// Where layers of the base come from, if they are not in the store.
    pub base: Option<&'a Reference>,
}

/// What a push did, in layers.
#[derive(Debug, Default)]
pub struct PushCounts {
    pub pushed: AtomicU64,
    pub mounted: AtomicU64,
    pub skipped: AtomicU64,
}

/// The document that a service's tags point at: the manifest, or an index over one manifest a platform.
pub fn document(layers: &Layers, built: &[Built]) -> Result<(Descriptor, Vec<u8>), Error> {
    if let [only] = built {
        return Ok((only.record.manifest.clone(), layers.store.read_blob(&only.record.manifest.digest)?));
    }
    let manifests = built.iter().map(|image| Descriptor { platform: Some(image.platform.clone()), ..image.record.manifest.clone() });
    let bytes = serde_json::to_vec(&Index::oci(manifests.collect())).unwrap_or_default();
    let (digest, size) = layers.store.put_blob(&bytes)?;
    Ok((Descriptor::new(media_type::OCI_INDEX, digest, size), bytes))
}

/// Pushes a service: layers and configs first, then manifests, then its tags. A tag that is right already is not touched.
pub fn push(
    layers: &Layers,
    service: &str,
    image: &Reference,
    tags: &[String],
    built: &[Built],
    counts: &PushCounts,
) -> Result<Digest, Error> {
    let (descriptor, bytes) = document(layers, built)?;
    let layer_count: u64 = built.iter().map(|image| image.record.layers.len() as u64).sum();
    let references: Vec<Reference> = tags.iter().map(|tag| image.with_tag(tag)).collect();
    let mut stale = Vec::new();
    for reference in references {
        match layers.client.head_manifest(&reference)? {
            Some(there) if there.digest == descriptor.digest => tell(layers, service, reference, PushOutcome::Unchanged),
            _ => stale.push(reference),
        }
    }
    if stale.is_empty() {
        counts.skipped.fetch_add(layer_count, Ordering::Relaxed);
        return Ok(descriptor.digest);
    }
    for image_of_platform in built {
        push_blobs(layers, service, image, image_of_platform, counts)?;
        if built.len() > 1 {
            let manifest = &image_of_platform.record.manifest;
            let bytes = layers.store.read_blob(&manifest.digest)?;
            layers.client.put_manifest(&image.with_digest(manifest.digest), &bytes, &manifest.media_type)?;
        }
    }
    for reference in stale {
        layers.client.put_manifest(&reference, &bytes, &descriptor.media_type)?;
        tell(layers, service, reference, PushOutcome::Pushed);
    }
    Ok(descriptor.digest)
}

fn tell(layers: &Layers, service: &str, reference: Reference, outcome: PushOutcome) {
    layers.reporter.emit(Event::PushFinished { service: service.to_owned(), reference, outcome });
}

/// Layers at the same time, then the config. Bytes are checked against their digest before they leave the store.
fn push_blobs(layers: &Layers, service: &str, image: &Reference, built: &Built, counts: &PushCounts) -> Result<(), Error> {
    const AT_ONCE: usize = 4;
    fan_out(&built.record.layers, AT_ONCE, |layer| {
        let count = match push_blob(layers, service, image, &layer.descriptor, built.base)? {
            Pushed::Existed => &counts.skipped,
            Pushed::Mounted => &counts.mounted,
            Pushed::Uploaded => &counts.pushed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<(), Error>(())
    })?;
    push_blob(layers, service, image, &built.record.config, None).map(drop)
}

fn push_blob(layers: &Layers, service: &str, image: &Reference, blob: &Descriptor, base: Option<&Reference>) -> Result<Pushed, Error> {
    let body: PathBuf = layers.store.blob_path(&blob.digest);
    if layers.store.blob_size(&blob.digest) != Some(blob.size) {
        // A layer of the base that no Step ran on: it may be there already.
        if layers.client.blob_exists(image, &blob.digest)? {
            return Ok(Pushed::Existed);
        }
        if let Some(base) = base {
            layers.pull(blob, base)?;
        }
    }
    let mount_from: Vec<Reference> = base.cloned().into_iter().collect();
    let progress = |bytes| {
        let digest = blob.digest;
        layers.reporter.emit(Event::LayerProgress {
            service: service.to_owned(),
            transfer: Transfer::Push,
            digest,
            bytes,
            total: Some(blob.size),
        });
    };
    Ok(layers.client.push_blob(image, blob, &body, &mount_from, &progress)?)
}

/// The base whose layers an image starts with.
pub fn base_of<'p>(plan: &'p Plan, image: &ImagePlan) -> Option<&'p Reference> {
    plan.chain(image.root).0.map(|base| &plan.bases[base].reference)
}
