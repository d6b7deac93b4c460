//! What is known already and what has to run, decided from keys and records before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::image::Layer;
use crate::oci::{Descriptor, DiffId};
use crate::plan::{KeyInputs, Plan, Root, Step, StepId};
use crate::store::{RecordKind, Store};

/// What a Step's key led to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepRecord {
    pub diff_id: DiffId,
    pub layer: Descriptor,
    pub inputs: KeyInputs,
    /// Milliseconds that it took.
    pub took: u64,
}

/// What an image key led to. All blobs are named by the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageRecord {
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub layers: Vec<Layer>,
}

/// The state of the cache for one plan.
pub struct Lookup {
    /// Finished images, by index in [`Plan::images`].
    pub images: BTreeMap<usize, ImageRecord>,
    /// Layers of Steps that need not run.
    pub layers: BTreeMap<StepId, Layer>,
    /// Steps that have to run, parents before children.
    pub run: BTreeSet<StepId>,
}

/// The layer of a Step, if a record names it and its blob is here.
pub fn recorded(store: &Store, step: &Step) -> Option<Layer> {
    let record: StepRecord = store.record(RecordKind::Step, &step.key.0)?;
    let here = store.blob_size(&record.layer.digest) == Some(record.layer.size);
    here.then_some(Layer { diff_id: record.diff_id, descriptor: record.layer })
}

pub fn look_up(plan: &Plan, store: &Store) -> Lookup {
    let mut lookup = Lookup { images: BTreeMap::new(), layers: BTreeMap::new(), run: BTreeSet::new() };
    for (index, image) in plan.images.iter().enumerate() {
        let (base, steps) = plan.chain(image.root);
        let forced = steps.iter().any(|step| plan.steps[*step].no_cache);
        let record = store.record::<ImageRecord>(RecordKind::Image, &image.key.0).filter(|_| !forced);
        let base_layers = base.map_or(0, |base| plan.bases[base].manifest.layers.len());
        // Layers of the base need not be here: they are in the base's repository.
        let complete = |record: &ImageRecord| {
            let own = record.layers.iter().skip(base_layers).map(|layer| &layer.descriptor);
            own.chain([&record.manifest, &record.config]).all(|blob| store.blob_size(&blob.digest) == Some(blob.size))
        };
        match record.filter(complete) {
            Some(record) => drop(lookup.images.insert(index, record)),
            None => need(plan, store, &mut lookup, image.root),
        }
    }
    lookup
}

/// Notes the Steps of a state as cached or to be run, with what those that run need.
fn need(plan: &Plan, store: &Store, lookup: &mut Lookup, root: Root) {
    let mut pending = vec![root];
    while let Some(root) = pending.pop() {
        for id in plan.chain(root).1 {
            if lookup.layers.contains_key(&id) || lookup.run.contains(&id) {
                continue;
            }
            let step = &plan.steps[id];
            match recorded(store, step).filter(|_| !step.no_cache) {
                Some(layer) => drop(lookup.layers.insert(id, layer)),
                None => {
                    lookup.run.insert(id);
                    pending.extend(step.sources());
                }
            }
        }
    }
}
