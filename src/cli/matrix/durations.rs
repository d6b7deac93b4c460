//! What is to run has never run: how long it takes is told by what stood in its place when the image was built last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::Planned;
use crate::build::{Lookup, SharedPast, fan_out, last_trail};
use crate::cache::{Shared, StepRecord};
use crate::cli::planning::Setup;
use crate::cli::relock::AT_ONCE;
use crate::plan::{CacheKey, ImagePlan, Step, StepId, Trail, TrailStep};
use crate::store::RecordKind;

/// Seconds of each Step that is to run. One that nothing is known of takes as long as the others on average.
pub fn durations(setup: &Setup, planned: &Planned, lookup: &Lookup, shared: &Shared) -> BTreeMap<StepId, f64> {
    let known: Mutex<BTreeMap<StepId, f64>> = Mutex::default();
    let unfinished: Vec<&ImagePlan> =
        planned.plan.images.iter().enumerate().filter(|(index, _)| !lookup.images.contains_key(index)).map(|(_, image)| image).collect();
    let Ok(()) = fan_out(&unfinished, AT_ONCE, |image| {
        let Some(trail) = last(setup, planned, shared, image) else { return Ok(()) };
        for id in planned.plan.behind(image.root).0.into_iter().filter(|id| lookup.run.contains(id)) {
            let step = &planned.plan.steps[id];
            let took = counterpart(&trail, step).and_then(|before| took(setup, shared, &before.key, step));
            if let Some(milliseconds) = took {
                known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, milliseconds as f64 / 1000.0);
            }
        }
        Ok::<(), std::convert::Infallible>(())
    });
    let known = known.into_inner().unwrap_or_else(PoisonError::into_inner);
    let average = if known.is_empty() { 1.0 } else { known.values().sum::<f64>() / known.len() as f64 };
    let all: &BTreeSet<StepId> = &lookup.run;
    all.iter().map(|id| (*id, known.get(id).copied().unwrap_or(average))).collect()
}

/// What the image was built from last: here, or by whoever gave it to the cache repository.
fn last(setup: &Setup, planned: &Planned, shared: &Shared, image: &ImagePlan) -> Option<Trail> {
    let loaded = planned.workspace.services.iter().find(|loaded| loaded.service.name == image.service)?;
    last_trail(&setup.store, &loaded.service.image, &image.platform)
        .or_else(|| SharedPast::find(shared, &image.service, &image.platform).map(|past| past.trail().clone()))
}

/// The same instruction, else the one in the same place.
fn counterpart<'t>(trail: &'t Trail, step: &Step) -> Option<&'t TrailStep> {
    let same_text = trail.steps.iter().find(|before| before.text == step.text);
    same_text.or_else(|| trail.steps.iter().find(|before| before.position == step.position))
}

fn took(setup: &Setup, shared: &Shared, key: &CacheKey, step: &Step) -> Option<u64> {
    let here = || setup.store.record::<StepRecord>(RecordKind::Step, &key.0).map(|record| record.took);
    here().or_else(|| shared.step(key, &step.services).map(|entry| entry.record.took))
}
