//! Results given to cache repositories while the build goes on. What fails here is told once, and fails nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::engine::{Engine, base_layers};
use super::error::Error;
use super::finish::is_lasting;
use super::lookup::Lookup;
use super::push::{Pusher, Target};
use super::trails::trail_entry;
use crate::cache::{Belief, Carried, Claims, ImageEntry, ImageRecord, Shared, StepEntry, StepRecord, TocEntry, empty_blob, recorded};
use crate::oci::{Descriptor, DiffId, Layer, Reference};
use crate::plan::{CacheKey, ImagePlan, Plan, Root, StepId};
use crate::source::FileLists;
use crate::store::{self, RecordKind};

/// Who gives, and where to.
pub struct Share<'a> {
    pub shared: &'a Shared<'a>,
    pub pusher: &'a Pusher<'a>,
    /// The repositories that images are pushed to have their layers already.
    pub pushed: bool,
    /// Nobody knew anything of the plan: the repositories probably have nothing of it.
    pub all_new: bool,
    /// What has been given, or given up.
    done: Mutex<BTreeSet<StepId>>,
    /// Tables of contents that repositories (by their names) were asked for.
    tocs: Mutex<BTreeSet<(String, DiffId)>>,
}

/// What may have to be given: Steps and images (indices in [`Plan::images`]) that no repository has told of.
#[derive(Default)]
pub struct Given {
    pub steps: BTreeSet<StepId>,
    pub images: BTreeSet<usize>,
}

pub fn what_is_given(plan: &Plan, lookup: &Lookup) -> Given {
    let steps = lookup.steps.keys().chain(&lookup.run).copied().filter(|id| !lookup.shared.steps.contains(id));
    Given { steps: steps.collect(), images: (0..plan.images.len()).filter(|index| !lookup.shared.images.contains(index)).collect() }
}

impl<'a> Share<'a> {
    pub fn new(shared: &'a Shared<'a>, pusher: &'a Pusher<'a>, pushed: bool, lookup: &Lookup) -> Self {
        let all_new = lookup.steps.is_empty() && lookup.images.is_empty();
        Self { shared, pusher, pushed, all_new, done: Mutex::default(), tocs: Mutex::default() }
    }

    /// Gives the result of a Step that is finished to the repositories of the services that need it, once.
    pub fn step(&self, engine: &Engine, id: StepId) {
        let Some(record) = engine.record(id) else { return };
        // An image's layer as the image has it.
        let record = match engine.is_shipped(id).then(|| engine.shipped_layer(id)).transpose() {
            Ok(Some(layer)) => StepRecord { layer: layer.descriptor, ..record },
            Ok(None) => record,
            Err(_) => return,
        };
        self.give_step(engine.plan, id, record, engine.is_shipped(id), engine.keys(id));
    }

    /// The same for a finished image. `known`: by this machine's store, which may have more of it to give than this run has looked at.
    pub fn image(&self, engine: &Engine, image: &ImagePlan, record: &ImageRecord, known: bool) {
        let plan = engine.plan;
        // What is where it belongs was given when it came there.
        let was_given = known && !self.pusher.has_pushed(&image.service);
        if was_given || (!known && !is_lasting(engine, image)) {
            return;
        }
        let manifest = self.pusher.layers.store.read_blob(&record.manifest.digest).ok();
        let Some(manifest) = manifest.and_then(|bytes| String::from_utf8(bytes).ok()) else { return };
        let mut carried = Carried::default();
        let long = (!carried.take_up(&record.config, || self.read(&record.config))).then_some(&record.config);
        let own: Vec<&Descriptor> = own_layers(plan, image, record).map(|layer| &layer.descriptor).chain(long).collect();
        let images: Vec<&Reference> = self.pushed.then(|| self.pusher.repository(&image.service)).flatten().into_iter().collect();
        let anew = plan.chain(image.root).1.iter().any(|step| plan.steps[*step].no_cache);
        let services = std::slice::from_ref(&image.service);
        for repository in self.shared.written(services) {
            let target = Target { service: &image.service, image: &repository };
            let given = || -> Result<(), Error> {
                if !anew && self.shared.has_image(&repository, &image.key, services)? {
                    return Ok(());
                }
                if known {
                    self.give_steps_of(plan, image, record);
                }
                let (blobs, places) = self.blobs(target, &own, &images)?;
                let claimed_by = self.shared.claims_in(&repository, &record.claimed_by, services);
                let record = ImageRecord { claimed_by, ..record.clone() };
                let entry = ImageEntry { key: image.key, record, manifest: manifest.clone(), carried: carried.clone(), places };
                self.shared.put_image(&repository, &image.key, &entry, blobs)?;
                let store = self.pusher.layers.store;
                let known = |id: StepId| engine.record(id).or_else(|| store.record(RecordKind::Step, &plan.steps[id].key.0));
                Ok(self.shared.put_trail(&repository, &image.platform, &trail_entry(plan, image, known, |blob| self.files(blob)))?)
            };
            self.settle(&repository, given());
        }
    }

    /// The Steps behind an image that the store knows.
    fn give_steps_of(&self, plan: &Plan, image: &ImagePlan, record: &ImageRecord) {
        let layers: BTreeMap<StepId, &Layer> = plan.chain(image.root).1.into_iter().zip(own_layers(plan, image, record)).collect();
        let (mut pending, mut met) = (vec![image.root], BTreeSet::new());
        while let Some(root) = pending.pop() {
            for id in plan.chain(root).1 {
                if !met.insert(id) {
                    continue;
                }
                let step = &plan.steps[id];
                pending.extend(step.sources());
                let belief = Belief { shared: Some(self.shared), services: &step.services };
                if let Some(known) = recorded(self.pusher.layers.store, &step.key, belief, &|| record.single_uid) {
                    let claims = &known.claimed_by | &record.claimed_by;
                    let (shipped, given) = match layers.get(&id) {
                        None => (false, known),
                        // As the image has it, on whose word that may rest.
                        Some(layer) if layer.diff_id == known.diff_id => {
                            (true, StepRecord { layer: layer.descriptor.clone(), claimed_by: claims, ..known })
                        }
                        // The Step has made something else since.
                        Some(_) => continue,
                    };
                    let keys = [(step.key, given.claimed_by.clone())];
                    self.give_step(plan, id, given, shipped, &keys);
                }
            }
        }
    }

    /// `keys`: what it may be found by, and on whose word it rests that this leads to it.
    fn give_step(&self, plan: &Plan, id: StepId, record: StepRecord, shipped: bool, keys: &[(CacheKey, Claims)]) {
        let Some((first, _)) = keys.first().filter(|_| self.done.lock().unwrap_or_else(PoisonError::into_inner).insert(id)) else { return };
        let step = &plan.steps[id];
        let files = record.files.clone().filter(|files| self.files(files).is_some());
        let record = StepRecord { inputs: record.inputs.abridged(), files, ..record };
        let images: Vec<&Reference> = match self.pushed && shipped {
            true => step.services.iter().filter_map(|service| self.pusher.repository(service)).collect(),
            false => Vec::new(),
        };
        for repository in self.shared.written(&step.services) {
            let service = step.services.first().map_or("", String::as_str);
            let target = Target { service, image: &repository };
            let given = || -> Result<(), Error> {
                // Who asks for everything anew wants what comes of it to be found.
                if !step.no_cache && self.shared.has_step(&repository, first, &step.services)? {
                    return Ok(());
                }
                let toc = self.pusher.layers.toc(&record.layer());
                let mut carried = Carried::default();
                let long = toc.iter().chain(&record.files).filter(|blob| !carried.take_up(blob, || self.read(blob)));
                let wanted: Vec<&Descriptor> = std::iter::once(&record.layer).chain(long).collect();
                let (blobs, places) = self.blobs(target, &wanted, &images)?;
                for (key, claims) in keys {
                    let claimed_by = self.shared.claims_in(&repository, claims, &step.services);
                    let record = StepRecord { claimed_by, ..record.clone() };
                    let (carried, places) = (carried.clone(), places.clone());
                    let entry = StepEntry { keys: keys.iter().map(|(key, _)| *key).collect(), record, toc: toc.clone(), carried, places };
                    self.shared.put_step(&repository, key, &entry, blobs.clone())?;
                }
                self.give_tocs_of_base(plan, id, target)
            };
            self.settle(&repository, given());
        }
    }

    /// Gives the tables of contents of the base that a Step stands on, as far as they are here. From the bottom up: where the uppermost is,
    /// nobody asks for the others.
    fn give_tocs_of_base(&self, plan: &Plan, id: StepId, target: Target) -> Result<(), Error> {
        let base = plan.chain(Root::Step(id)).0.map(|base| base_layers(&plan.bases[base])).unwrap_or_default();
        let (mut missing, services): (Vec<&Layer>, _) = (Vec::new(), &plan.steps[id].services);
        if let Some((top, below)) = base.split_last()
            && self.lacks_toc(target, top.diff_id, services)?
        {
            for layer in below {
                missing.extend(self.lacks_toc(target, layer.diff_id, services)?.then_some(layer));
            }
            missing.push(top);
        }
        for layer in missing {
            let Some(toc) = self.pusher.layers.toc(layer) else { continue };
            let (blobs, places) = self.blobs(target, &[&toc], &[])?;
            let entry = TocEntry { layer: layer.diff_id, toc, claimed_by: Claims::new(), places };
            self.shared.put_toc(target.image, &entry, blobs)?;
        }
        Ok(())
    }

    /// Whether a repository lacks a table of contents that nobody in this run is about to give.
    fn lacks_toc(&self, target: Target, layer: DiffId, services: &[String]) -> Result<bool, Error> {
        let first = self.tocs.lock().unwrap_or_else(PoisonError::into_inner).insert((target.image.name(), layer));
        Ok(first && !self.shared.has_toc(target.image, &layer, services)?)
    }

    /// A short blob.
    fn read(&self, blob: &Descriptor) -> Option<Vec<u8>> {
        let layers = &self.pusher.layers;
        let here = layers.may_use(blob).then(|| layers.store.read_blob(&blob.digest).ok()).flatten();
        here.or_else(|| layers.origins.carried(&blob.digest))
    }

    /// The files that a Step took from contexts. What a cache repository calls so may be anything that is in the store.
    fn files(&self, files: &Descriptor) -> Option<Vec<u8>> {
        self.read(files).filter(|bytes| FileLists::from_bytes(bytes).is_some())
    }

    /// Brings blobs to a cache repository: those that it has now, and where the others are.
    fn blobs(&self, target: Target, wanted: &[&Descriptor], images: &[&Reference]) -> Result<(Vec<Descriptor>, Vec<Reference>), Error> {
        self.give_empty(target)?;
        let (mut there, mut places): (Vec<Descriptor>, Vec<Reference>) = Default::default();
        for blob in wanted {
            let elsewhere = self.pusher.give(target, blob, images, self.all_new)?;
            if elsewhere.is_empty() {
                there.push((*blob).clone());
            }
            for place in elsewhere {
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Ok((there, places))
    }

    /// Brings the blob that every entry names.
    pub(super) fn give_empty(&self, target: Target) -> Result<(), Error> {
        let (empty, bytes) = empty_blob();
        self.pusher.layers.store.put_blob(bytes)?;
        self.pusher.give_here(target, &empty, self.all_new)
    }

    /// Ends the writing to a repository where it failed, and says so.
    pub(super) fn settle(&self, repository: &Reference, given: Result<(), Error>) {
        match given {
            // What cannot be had is not given; the rest may be.
            Ok(()) | Err(Error::Cancelled | Error::Store(store::Error::Missing { .. } | store::Error::Damaged { .. })) => {}
            Err(Error::Registry(error)) => self.shared.stop_writing(repository, &error),
            Err(error) => self.shared.give_up_writing(repository, &error.to_string()),
        }
    }
}

/// The layers that an image has on top of its base.
fn own_layers<'r>(plan: &Plan, image: &ImagePlan, record: &'r ImageRecord) -> impl Iterator<Item = &'r Layer> {
    let base = plan.chain(image.root).0.map_or(0, |base| plan.bases[base].manifest.layers.len());
    record.layers.iter().skip(base)
}
