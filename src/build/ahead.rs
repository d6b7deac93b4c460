//! Layers that are pushed while later Steps run: those of bases from the start, those of Steps as soon as they are made.

use std::collections::BTreeMap;

use super::engine::{Engine, base_layers};
use super::fan_out::fan_out;
use super::lookup::Lookup;
use super::push::{Pusher, Target};
use crate::oci::Descriptor;
use crate::plan::{BaseId, Plan, StepId};

/// Who pushes.
pub struct Ahead<'a> {
    pub pusher: &'a Pusher<'a>,
}

/// Layers that stay or come together, one task each: where several repositories want them, the first upload serves the others' mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layers {
    OfBase(BaseId),
    OfStep(StepId),
}

/// What goes ahead, and for which images (indices in [`Plan::images`]): the layers of those that still wait for a Step. An image whose
/// layers are all there is pushed itself, and may not need them.
pub fn what_goes_ahead(plan: &Plan, lookup: &Lookup) -> BTreeMap<Layers, Vec<usize>> {
    let mut going: BTreeMap<Layers, Vec<usize>> = BTreeMap::new();
    for (index, image) in plan.images.iter().enumerate().filter(|(index, _)| !lookup.images.contains_key(index)) {
        let (base, steps) = plan.chain(image.root);
        if steps.iter().any(|step| lookup.run.contains(step)) {
            let layers = base.map(Layers::OfBase).into_iter().chain(steps.into_iter().map(Layers::OfStep));
            layers.for_each(|layers| going.entry(layers).or_default().push(index));
        }
    }
    going
}

impl Ahead<'_> {
    /// Sends layers to the repositories of `images`. What fails is told by the image when it is pushed.
    pub fn send(&self, engine: &Engine, layers: Layers, images: &[usize]) {
        const AT_ONCE: usize = 4;
        let descriptors: Vec<Descriptor> = match layers {
            Layers::OfBase(base) => base_layers(&engine.plan.bases[base]).into_iter().map(|layer| layer.descriptor).collect(),
            Layers::OfStep(step) => engine.shipped_layer(step).map(|layer| layer.descriptor).into_iter().collect(),
        };
        let stop = || engine.supplies.cancel.is_cancelled();
        let Ok(()) = fan_out(&descriptors, AT_ONCE, |layer| {
            for image in images.iter().map(|index| &engine.plan.images[*index]).take_while(|_| !stop()) {
                let service = image.service.as_str();
                if let Some(repository) = self.pusher.repository(service) {
                    self.pusher.send_ahead(Target { service, image: repository }, layer, &stop);
                }
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }
}
