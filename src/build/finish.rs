//! Finished images: assembled from layers, and recorded.

use super::engine::{Engine, base_layers};
use super::error::Error;
use super::layers::Layers;
use crate::cache::ImageRecord;
use crate::image::{Format, assemble};
use crate::oci::{Descriptor, Index, Platform, media_type};
use crate::plan::ImagePlan;
use crate::store::RecordKind;

/// Makes config and manifest of an image whose layers are known, and records them.
/// `single_uid`: some of its layers were made so.
pub fn finish(engine: &Engine, image: &ImagePlan, format: Format, single_uid: bool) -> Result<ImageRecord, Error> {
    let (base, steps) = engine.plan.chain(image.root);
    let mut layers = base.map_or_else(Vec::new, |base| base_layers(&engine.plan.bases[base]));
    for step in &steps {
        layers.push(engine.shipped_layer(*step)?);
    }
    let single_uid = single_uid || engine.single_uid();
    let assembled = assemble(&image.labelled(), &layers, format)?;
    let store = engine.layers.store;
    store.put_blob(&assembled.config)?;
    store.put_blob(&assembled.manifest)?;
    let behind = engine.plan.behind(image.root).0;
    let record = ImageRecord {
        manifest: assembled.manifest_descriptor,
        config: assembled.config_descriptor,
        layers,
        single_uid,
        claimed_by: steps.iter().filter_map(|step| engine.record(*step)).flat_map(|record| record.claimed_by).collect(),
        took: behind.iter().filter_map(|step| Some((engine.plan.steps[*step].key, engine.record(*step)?.took))).collect(),
    };
    // Of what is only claimed the store says nothing: it would count as its own in the next run.
    if is_lasting(engine, image) && record.layers.iter().all(|layer| engine.layers.may_use(&layer.descriptor)) {
        store.put_record_soon(RecordKind::Image, &image.key.0, &record)?;
    }
    Ok(record)
}

/// Whether an image is what its key says.
pub(super) fn is_lasting(engine: &Engine, image: &ImagePlan) -> bool {
    engine.plan.chain(image.root).1.into_iter().all(|step| engine.is_lasting(step))
}

/// One image of a service, for one platform.
pub struct Built<'a> {
    pub platform: &'a Platform,
    pub record: &'a ImageRecord,
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
