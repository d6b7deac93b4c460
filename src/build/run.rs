//! One plan from lookup to finished images: Steps, images and what is pushed ahead of them as one graph of tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

use super::ahead::{self, Ahead, what_goes_ahead};
use super::engine::{Engine, Supplies};
use super::error::{Error, Failure};
use super::finish::finish;
use super::layers::Layers;
use super::lookup::Lookup;
use super::mounts::{Mounts, written_by};
use super::schedule::{self, TaskGraph};
use super::share::{Given, Share, what_is_given};
use crate::cache::{ImageRecord, Shared};
use crate::image::Format;
use crate::oci::Digest;
use crate::plan::{Plan, Root, StepId};

/// How a plan is run.
pub struct RunOptions<'a> {
    /// Steps at the same time.
    pub jobs: usize,
    /// After a failure, go on with what does not need what failed.
    pub keep_going: bool,
    pub format: Format,
    /// Services (first, then): the second is finished, and so pushed, only after the first.
    pub order: &'a [(&'a str, &'a str)],
    /// Why Steps run, in a line.
    pub reasons: &'a BTreeMap<StepId, String>,
    /// Where layers go before their images, if anywhere.
    pub ahead: Option<Ahead<'a>>,
    /// Cache repositories, where they are read.
    pub shared: Option<&'a Shared<'a>>,
    /// Where results go that cache repositories do not know, if anywhere.
    pub share: Option<&'a Share<'a>>,
    /// Cache mounts, where they persist.
    pub mounts: Option<&'a Mounts<'a>>,
}

/// An image that is complete in the store.
pub struct Finished {
    pub record: ImageRecord,
    pub seconds: f64,
}

/// What a run has brought.
pub struct Ran {
    /// By index in [`Plan::images`].
    pub finished: BTreeMap<usize, Finished>,
    /// Empty where all went well.
    pub failures: Vec<Failure>,
}

/// Images that are finished and pushed, layers that go ahead and what is given to caches, at the same time; they wait for the network, and
/// the registry for its disk, more than they compute.
const TRANSFERS_AT_ONCE: usize = 12;

/// In the order in which those that are ready are begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Task {
    Step(StepId),
    /// By index in [`Plan::images`].
    Image(usize),
    Send(ahead::Layers),
    ShareStep(StepId),
    /// By index in [`Plan::images`].
    ShareImage(usize),
    /// By its id. The last and one at a time: whatever else there is to send does not wait for it.
    SaveMount(Digest),
}

/// Runs the Steps that `lookup` says have to, and finishes the images. `then` is called for each image as soon as it is complete,
/// on the thread that completed it.
pub fn run(
    plan: &Plan,
    layers: Layers<'_>,
    supplies: &Supplies,
    lookup: &Lookup,
    options: &RunOptions<'_>,
    then: impl Fn(usize, &Finished) -> Result<(), Failure> + Sync,
) -> Ran {
    let started = Instant::now();
    let engine = Engine::new(plan, layers, supplies, lookup, options);
    let ahead = options.ahead.as_ref().map(|ahead| (ahead, what_goes_ahead(plan, lookup)));
    let given = options.share.map(|_| what_is_given(plan, lookup)).unwrap_or_default();
    let mut graph = task_graph(plan, lookup, options.order, ahead.iter().flat_map(|(_, going)| going.keys().copied()), &given);
    if options.mounts.is_some() && options.share.is_some() {
        add_mounts(&mut graph, plan, lookup);
    }
    let finished: Mutex<BTreeMap<usize, Finished>> = Mutex::default();
    let transfers = |task| !matches!(task, Task::Step(_));
    // As in BuildKit, one failure ends all. What is only gone is made again, and nothing else need be.
    let ends = |error: &Error| !options.keep_going && error.gone().is_none();
    let ends_all = |failure: &Failure| ends(&failure.error);
    let ran = schedule::run(&graph, (options.jobs, TRANSFERS_AT_ONCE), ends_all, transfers, |task| {
        let index = match task {
            Task::Step(step) => {
                let failed = |error| {
                    if ends(&error) {
                        supplies.cancel.cancel();
                    }
                    Failure::of_step(step, error)
                };
                return engine.run(step).map_err(failed);
            }
            Task::Send(layers) => {
                ahead.iter().for_each(|(ahead, going)| ahead.send(&engine, layers, &going[&layers]));
                return Ok(());
            }
            Task::ShareStep(step) => {
                options.share.iter().for_each(|share| share.step(&engine, step));
                return Ok(());
            }
            Task::ShareImage(index) => {
                let record = finished.lock().unwrap_or_else(PoisonError::into_inner).get(&index).map(|done| done.record.clone());
                options.share.iter().zip(record).for_each(|(share, record)| {
                    let known = lookup.images.contains_key(&index);
                    share.image(&engine, &plan.images[index], &record, known);
                });
                return Ok(());
            }
            Task::SaveMount(id) => {
                options.mounts.iter().zip(options.share).for_each(|(mounts, share)| mounts.save(&engine, share, &id));
                return Ok(());
            }
            Task::Image(index) => index,
        };
        let image = &plan.images[index];
        let record = match lookup.images.get(&index) {
            Some(record) => record.clone(),
            None if supplies.cancel.is_cancelled() => return Err(Failure::of_service(&image.service, Error::Cancelled)),
            None => {
                finish(&engine, image, options.format, lookup.single_uid).map_err(|error| Failure::of_service(&image.service, error))?
            }
        };
        let done = Finished { record, seconds: started.elapsed().as_secs_f64() };
        then(index, &done)?;
        finished.lock().unwrap_or_else(PoisonError::into_inner).insert(index, done);
        Ok(())
    });
    // Also of a run that failed, what is finished is remembered.
    let settled = layers.store.settle();
    let mut failures = ran.err().unwrap_or_default();
    if !failures.is_empty() {
        given.steps.iter().for_each(|step| options.share.iter().for_each(|share| share.step(&engine, *step)));
    }
    failures.extend(settled.err().map(|error| Failure { step: None, service: None, error: Box::new(error.into()) }));
    Ran { finished: finished.into_inner().unwrap_or_else(PoisonError::into_inner), failures }
}

fn task_graph(
    plan: &Plan,
    lookup: &Lookup,
    order: &[(&str, &str)],
    ahead: impl Iterator<Item = ahead::Layers>,
    given: &Given,
) -> TaskGraph<Task> {
    let mut graph = TaskGraph::new();
    let mut needs = |task: Task, root: Root| {
        graph.add_node(task);
        let (_, steps) = plan.chain(root);
        for step in steps.into_iter().filter(|step| lookup.run.contains(step) && Task::Step(*step) != task) {
            graph.add_edge(Task::Step(step), task, ());
        }
    };
    for &step in &lookup.run {
        needs(Task::Step(step), plan.steps[step].parent);
        plan.steps[step].sources().into_iter().for_each(|root| needs(Task::Step(step), root));
    }
    for (index, image) in plan.images.iter().enumerate() {
        needs(Task::Image(index), if lookup.images.contains_key(&index) { Root::Scratch } else { image.root });
    }
    for layers in ahead {
        let own = match layers {
            ahead::Layers::OfStep(step) => Root::Step(step),
            ahead::Layers::OfBase(_) => Root::Scratch,
        };
        needs(Task::Send(layers), own);
    }
    for &step in &given.steps {
        graph.add_node(Task::ShareStep(step));
        // What an image's repository has need not be sent twice.
        let before = [Task::Step(step), Task::Send(ahead::Layers::OfStep(step))];
        before
            .into_iter()
            .filter(|task| graph.contains_node(*task))
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|task| _ = graph.add_edge(task, Task::ShareStep(step), ()));
    }
    for &index in &given.images {
        graph.add_edge(Task::Image(index), Task::ShareImage(index), ());
        for step in plan.chain(plan.images[index].root).1.into_iter().filter(|step| given.steps.contains(step)) {
            graph.add_edge(Task::ShareStep(step), Task::ShareImage(index), ());
        }
    }
    for (before, after) in order {
        let of = |service: &str| {
            let own = plan.images.iter().enumerate().filter(move |(_, image)| image.service == service);
            own.map(|(index, _)| Task::Image(index)).collect::<Vec<_>>()
        };
        for (first, then) in of(before).into_iter().flat_map(|first| of(after).into_iter().map(move |then| (first, then))) {
            graph.add_edge(first, then, ());
        }
    }
    graph
}

/// Cache mounts are saved when the last Step that may write to them is done.
fn add_mounts(graph: &mut TaskGraph<Task>, plan: &Plan, lookup: &Lookup) {
    let written = lookup.run.iter().flat_map(|&step| written_by(&plan.steps[step]).map(move |id| (id, step)));
    let mut before = None;
    for (id, step) in written.collect::<BTreeSet<_>>() {
        graph.add_edge(Task::Step(step), Task::SaveMount(id), ());
        if let Some(other) = before.replace(id).filter(|other| *other != id) {
            graph.add_edge(Task::SaveMount(other), Task::SaveMount(id), ());
        }
    }
}
