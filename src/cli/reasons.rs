//! Why what has to run does: found before a build, told by it and by other commands, and remembered for `brik why --last`.

use std::collections::BTreeMap;

use super::planning::{Planned, Setup};
use super::secrets::Given;
use super::workspace::Workspace;
use crate::build::{Lookup, SharedPast, StoredPast, last_trail, put_trail};
use crate::cache::Shared;
use crate::config::Service;
use crate::oci::Reference;
use crate::plan::{Explained, ImagePlan, Past, Plan, Question, Step, StepId, Trail, explain};
use crate::report::Redactor;
use crate::store::Store;

/// Nothing in it is left to be redacted.
pub struct Reasons<'r> {
    /// By image, those that are not finished.
    explained: BTreeMap<usize, Explained>,
    redactor: &'r Redactor,
}

impl<'r> Reasons<'r> {
    /// Reads what was built last, only of images that are not finished: here, or else by whoever gave it to the cache repository. The
    /// redactor knows all secrets by now.
    pub fn find(planned: &Planned, lookup: &Lookup, store: &Store, shared: &Shared, redactor: &'r Redactor) -> Self {
        let Planned { workspace, plan, .. } = planned;
        let unfinished = plan.images.iter().enumerate().filter(|(index, _)| !lookup.images.contains_key(index));
        let explained = unfinished.map(|(index, image)| {
            let here = name_of(workspace, image).and_then(|name| last_trail(store, name, &image.platform));
            let elsewhere = || SharedPast::find(shared, &image.service, &image.platform);
            let explain = |previous: Option<&Trail>, past: &dyn Past| {
                explain(&Question { plan, run: &lookup.run, past, root: &workspace.config.root }, image, previous)
            };
            let explained = match (here, lookup.run.is_empty()) {
                (None, false) => match elsewhere() {
                    Some(past) => explain(Some(past.trail()), &past),
                    None => explain(None, &StoredPast(store)),
                },
                (here, _) => explain(here.as_ref(), &StoredPast(store)),
            };
            (index, explained.map_texts(&|text| redactor.redact(text).into_owned()))
        });
        Self { explained: explained.collect(), redactor }
    }

    /// For a command that builds nothing.
    pub fn preview(setup: &'r Setup, planned: &Planned, lookup: &Lookup, shared: &Shared) -> Self {
        learn_secrets(setup, planned.workspace.services.iter().map(|loaded| loaded.service));
        Self::find(planned, lookup, &setup.store, shared, &setup.redactor)
    }

    pub fn of_image(&self, index: usize) -> Option<&Explained> {
        self.explained.get(&index)
    }

    /// A Step as its reasons name it.
    pub fn text(&self, step: &Step) -> String {
        self.redactor.redact(&step.text).into_owned()
    }

    /// The first reason of each Step that runs, and how many more there are.
    pub fn lines(&self) -> BTreeMap<StepId, String> {
        let steps = self.explained.values().flat_map(|explained| &explained.steps).filter(|step| step.runs);
        let mut lines = BTreeMap::new();
        for step in steps {
            let Some(first) = step.reasons.first() else { continue };
            let causes = step.reasons.iter().filter(|reason| !reason.is_consequence()).count();
            let more = if causes > 1 { format!(" and {} more", causes - 1) } else { String::new() };
            lines.entry(step.step).or_insert_with(|| format!("{first}{more}"));
        }
        lines
    }

    /// Remembers what a finished image was made of and why, unless that is known already. `ran`: which Steps have run. It is worth no
    /// failure.
    pub fn remember(&self, index: usize, workspace: &Workspace, plan: &Plan, store: &Store, ran: impl Fn(StepId) -> bool) {
        let image = &plan.images[index];
        let Some(name) = name_of(workspace, image) else { return };
        let explained = self.of_image(index).map(|explained| explained.clone().of_run(ran));
        let known = || last_trail(store, name, &image.platform).is_some_and(|last| last.image == image.key && !last.has_reasons());
        if explained.is_some() || !known() {
            let _ = put_trail(store, name, &image.platform, &Trail::of(plan, image, explained.as_ref()));
        }
    }
}

/// Makes unsayable what a build would give to RUNs, as far as it is there.
pub fn learn_secrets<'s>(setup: &Setup, services: impl Iterator<Item = &'s Service>) {
    let _ = Given::read(services, &setup.request.env, &setup.redactor);
}

fn name_of<'w>(workspace: &'w Workspace, image: &ImagePlan) -> Option<&'w Reference> {
    workspace.services.iter().find(|loaded| loaded.service.name == image.service).map(|loaded| &loaded.service.image)
}
