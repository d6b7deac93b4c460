//! What is known already and what has to run, decided from keys and records before anything runs: the store is asked first, then the cache
//! repositories, many questions at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use super::engine::base_layers;
use super::fan_out::fan_out;
use super::origins::{Origins, identity};
use crate::cache::{Belief, ImageEntry, ImageRecord, Shared, StepEntry, StepRecord, recorded};
use crate::image::{Format, assemble};
use crate::oci::{Descriptor, ImageConfig, Layer, media_type};
use crate::plan::{ImagePlan, Plan, Root, StepId};
use crate::store::{RecordKind, Store};

/// Requests to cache repositories at the same time.
const AT_ONCE: usize = 16;

/// The state of the cache for one plan.
#[derive(Default)]
pub struct Lookup {
    /// Finished images, by index in [`Plan::images`].
    pub images: BTreeMap<usize, ImageRecord>,
    /// Steps that need not run.
    pub steps: BTreeMap<StepId, StepRecord>,
    /// Steps that have to run, parents before children.
    pub run: BTreeSet<StepId>,
    /// What of it a cache repository knew.
    pub shared: FromShared,
    /// Something of it was made with a single id.
    pub single_uid: bool,
}

/// Images by index in [`Plan::images`], and Steps.
#[derive(Default)]
pub struct FromShared {
    pub images: BTreeSet<usize>,
    pub steps: BTreeSet<StepId>,
    /// They may know more of what the plan leads to: some image of it was given to them before.
    pub any: bool,
}

/// Who is asked.
pub struct Sources<'a> {
    pub store: &'a Store,
    /// Cache repositories, where they are read.
    pub shared: Option<&'a Shared<'a>>,
    /// Hears where layers are that are not in the store.
    pub origins: &'a Origins,
    /// Images that are done, by their index, where this is another look at the same plan.
    pub done: &'a BTreeMap<usize, ImageRecord>,
    /// Whether this run has a single id and no more; asked only where it matters.
    pub single_uid: &'a dyn Fn() -> bool,
}

pub fn look_up(plan: &Plan, sources: &Sources) -> Lookup {
    let mut lookup = Lookup::default();
    let mut noted = BTreeSet::new();
    let mut unknown = Vec::new();
    let mut pending = Vec::new();
    for (index, image) in plan.images.iter().enumerate() {
        let (_, steps) = plan.chain(image.root);
        if !sources.done.contains_key(&index) && steps.iter().any(|step| plan.steps[*step].no_cache) {
            pending.push(image.root);
            continue;
        }
        match sources.image_here(plan, index) {
            Some(record) => {
                lookup.single_uid |= record.single_uid;
                record.layers.iter().for_each(|layer| sources.origins.note_had(&layer.descriptor.digest));
                note_use(plan, sources.store, image.root, &mut noted);
                lookup.images.insert(index, record);
            }
            None => unknown.push(index),
        }
    }
    let found = sources.images_elsewhere(plan, &unknown);
    for index in unknown {
        match found.get(&index).and_then(|entry| sources.take_image(plan, index, entry)) {
            Some(record) => {
                lookup.single_uid |= record.single_uid;
                lookup.shared.images.insert(index);
                lookup.images.insert(index, record);
            }
            None => pending.push(plan.images[index].root),
        }
    }
    let known = |index: usize| lookup.images.contains_key(&index);
    let unknown: BTreeSet<&str> =
        plan.images.iter().enumerate().filter(|(index, _)| !known(*index)).map(|(_, i)| i.service.as_str()).collect();
    steps(plan, sources, pending, &unknown, &mut lookup);
    lookup.shared.any = sources.were_given(plan, &lookup);
    lookup
}

/// Notes the Steps of states as cached or to be run, then the states that those need which run, and so on. `services` are those whose
/// images are not known: their repositories are asked before those of others that share a Step.
fn steps(plan: &Plan, sources: &Sources, mut pending: Vec<Root>, services: &BTreeSet<&str>, lookup: &mut Lookup) {
    while !pending.is_empty() {
        let chains = std::mem::take(&mut pending).into_iter().flat_map(|root| plan.chain(root).1);
        let new: BTreeSet<StepId> = chains.filter(|id| !lookup.steps.contains_key(id) && !lookup.run.contains(id)).collect();
        let mut unknown = Vec::new();
        for id in new {
            let step = &plan.steps[id];
            if step.no_cache {
                lookup.run.insert(id);
                pending.extend(step.sources());
                continue;
            }
            match recorded(sources.store, &step.key, sources.belief(&step.services), sources.single_uid) {
                Some(record) => {
                    sources.origins.note_recorded(&record);
                    lookup.single_uid |= record.single_uid;
                    lookup.steps.insert(id, record);
                }
                None => unknown.push(id),
            }
        }
        let found = sources.steps_elsewhere(plan, &unknown, services);
        for id in unknown {
            match found.get(&id).filter(|entry| !entry.record.single_uid || (sources.single_uid)()) {
                Some(entry) => {
                    sources.origins.note_step(&plan.steps[id].key, entry);
                    lookup.single_uid |= entry.record.single_uid;
                    lookup.shared.steps.insert(id);
                    lookup.steps.insert(id, entry.record.clone());
                }
                None => {
                    lookup.run.insert(id);
                    pending.extend(plan.steps[id].sources());
                }
            }
        }
    }
}

impl Sources<'_> {
    fn belief<'s>(&'s self, services: &'s [String]) -> Belief<'s> {
        Belief { shared: self.shared, services }
    }

    /// A finished image of the store with all that it needs.
    fn image_here(&self, plan: &Plan, index: usize) -> Option<ImageRecord> {
        let image = &plan.images[index];
        let record: ImageRecord = self.done.get(&index).cloned().or_else(|| self.store.record(RecordKind::Image, &image.key.0))?;
        // Layers of the base need not be here: they are in the base's repository.
        let own = || record.layers.iter().skip(base_of(plan, image.root).len());
        let layers = own().map(|layer| (&layer.descriptor, layer.diff_id));
        if !self.belief(std::slice::from_ref(&image.service)).holds(&record.claimed_by, layers) {
            return None;
        }
        let here = |blob: &Descriptor| self.store.blob_size(&blob.digest) == Some(blob.size);
        let complete = own().map(|layer| &layer.descriptor).chain([&record.manifest, &record.config]).all(here);
        (complete && (!record.single_uid || (self.single_uid)())).then_some(record)
    }

    /// Whether an image of the plan that is not known was given to cache repositories before, as something else.
    fn were_given(&self, plan: &Plan, lookup: &Lookup) -> bool {
        if !lookup.shared.images.is_empty() || !lookup.shared.steps.is_empty() {
            return true;
        }
        let unknown: Vec<usize> = (0..plan.images.len()).filter(|index| !lookup.images.contains_key(index)).collect();
        let last = |shared: &Shared, index: usize| shared.trail(&plan.images[index].service, &plan.images[index].platform);
        !lookup.run.is_empty() && !self.elsewhere(&unknown, last).is_empty()
    }

    fn images_elsewhere(&self, plan: &Plan, wanted: &[usize]) -> BTreeMap<usize, ImageEntry> {
        self.elsewhere(wanted, |shared, index| {
            let image = &plan.images[index];
            shared.image(&image.key, &image.service)
        })
    }

    fn steps_elsewhere(&self, plan: &Plan, wanted: &[StepId], services: &BTreeSet<&str>) -> BTreeMap<StepId, StepEntry> {
        self.elsewhere(wanted, |shared, id| {
            let step = &plan.steps[id];
            let mut first = step.services.clone();
            first.sort_by_key(|service| !services.contains(service.as_str()));
            shared.step(&step.key, &first)
        })
    }

    fn elsewhere<E: Send>(&self, wanted: &[usize], ask: impl Fn(&Shared, usize) -> Option<E> + Sync) -> BTreeMap<usize, E> {
        let found = Mutex::default();
        let Some(shared) = self.shared.filter(|shared| shared.is_read()) else { return BTreeMap::new() };
        let Ok(()) = fan_out(wanted, AT_ONCE, |&id| {
            if let Some(entry) = ask(shared, id) {
                let mut found: std::sync::MutexGuard<BTreeMap<usize, E>> = found.lock().unwrap_or_else(PoisonError::into_inner);
                found.insert(id, entry);
            }
            Ok::<(), std::convert::Infallible>(())
        });
        found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes use of an image that a cache repository knows, if it can be used here.
    fn take_image(&self, plan: &Plan, index: usize, entry: &ImageEntry) -> Option<ImageRecord> {
        let (record, image) = (&entry.record, &plan.images[index]);
        if record.single_uid && !(self.single_uid)() {
            return None;
        }
        let config = &record.config;
        let config = entry.carried.get(&config.digest).or_else(|| {
            self.origins.note_cached(&config.digest, &entry.places);
            self.shared?.read_blob(&self.origins.places(&config.digest), config)
        })?;
        if !is_of(plan, image, record, &config, entry.manifest.as_bytes()) {
            self.shared.into_iter().for_each(|shared| shared.refuse_image(&image.key, entry, &image.service));
            return None;
        }
        // Whoever pushes or exports it reads them from the store.
        self.store.put_blob(&config).ok()?;
        self.store.put_blob(entry.manifest.as_bytes()).ok()?;
        let own = record.layers.iter().skip(base_of(plan, image.root).len());
        own.for_each(|layer| {
            self.origins.note_cached(&layer.descriptor.digest, &entry.places);
            self.origins.note_claimed(&layer.descriptor.digest);
        });
        Some(record.clone())
    }
}

/// Whether an image is what its Dockerfile makes of these layers, whoever made them.
fn is_of(plan: &Plan, image: &ImagePlan, record: &ImageRecord, config: &[u8], manifest: &[u8]) -> bool {
    let mut layers = base_of(plan, image.root);
    let of_base = layers.len();
    let same = |(ours, theirs): (&Layer, &Layer)| identity(ours) == identity(theirs);
    if record.layers.len() != of_base + plan.chain(image.root).1.len() || !layers.iter().zip(&record.layers).all(same) {
        return false;
    }
    layers.extend_from_slice(&record.layers[of_base..]);
    let format = if record.manifest.media_type == media_type::DOCKER_MANIFEST { Format::Docker } else { Format::Oci };
    let Ok(found) = serde_json::from_slice::<ImageConfig>(config) else { return false };
    assemble(&image.labelled_as(&found), &layers, format).is_ok_and(|made| made.config == config && made.manifest == manifest)
}

/// The layers of an image that are its base's.
fn base_of(plan: &Plan, root: Root) -> Vec<Layer> {
    plan.chain(root).0.map_or_else(Vec::new, |base| base_layers(&plan.bases[base]))
}

/// Steps behind a finished image are used by it: pruned as old, they would all run again on its next small change.
fn note_use(plan: &Plan, store: &Store, root: Root, noted: &mut BTreeSet<StepId>) {
    let mut pending = vec![root];
    while let Some(root) = pending.pop() {
        for id in plan.chain(root).1 {
            if noted.insert(id) {
                store.note_use(RecordKind::Step, &plan.steps[id].key.0);
                pending.extend(plan.steps[id].sources());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Claims;
    use crate::config::{ImageFormat, Network};
    use crate::oci::{DiffId, Digest, Layer, Platform, Reference};
    use crate::plan::{self, BaseImage, Checkout, Dockerfile, Download, Options, Remote, ServiceNames, Target};
    use crate::source::{Disk, GitRef, StatCache};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    struct NoNetwork;

    impl Remote for NoNetwork {
        fn base(&self, _: &Reference, _: &Platform) -> Result<Arc<BaseImage>, String> {
            Err("no network".to_owned())
        }

        fn download(&self, _: &str, _: &str, _: Option<&Digest>) -> Result<Download, String> {
            Err("no network".to_owned())
        }

        fn layout(&self, _: &Path, _: Option<&str>, _: &Platform) -> Result<Arc<BaseImage>, String> {
            Err("no network".to_owned())
        }

        fn as_directory(&self, _: &Download) -> Result<PathBuf, String> {
            Err("no network".to_owned())
        }

        fn newest_member(&self, _: &Download) -> Result<Option<i64>, String> {
            Err("no network".to_owned())
        }

        fn checkout(&self, _: &str, _: &GitRef, _: bool) -> Result<Checkout, String> {
            Err("no network".to_owned())
        }
    }

    struct World {
        _directory: tempfile::TempDir,
        store: Store,
        plan: Plan,
        /// How records are made, and how this run would make them.
        single_uid: bool,
        single_uid_now: bool,
    }

    /// Steps: 0 and 1 of the stage `make`, 2 and 3 of the image.
    const TEXT: &str = "FROM scratch AS make\nRUN a\nRUN b\nFROM scratch\nRUN c\nCOPY --from=make /x /\n";

    fn world(no_cache: bool) -> World {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let target = Target {
            service: "app".to_owned(),
            context: directory.path().to_owned(),
            fetched: None,
            dockerfile: Arc::new(Dockerfile::parse(&directory.path().join("Dockerfile"), TEXT.as_bytes()).unwrap()),
            target: None,
            args: BTreeMap::new(),
            labels: BTreeMap::new(),
            source_facts: Default::default(),
            exact_labels: false,
            epoch: Some(0),
            created: None,
            contexts: plan::NamedContexts::default(),
            secrets: BTreeMap::new(),
            agents: Default::default(),
            platforms: vec![Platform::host()],
            implicit_platform: true,
        };
        let options = Options {
            build_platform: Platform::host(),
            format: ImageFormat::Oci,
            no_cache,
            hosts: Vec::new(),
            shm_size: None,
            network: Network::Host,
            names: &ServiceNames::default(),
            files: &Disk,
            stat_cache: Arc::new(StatCache::in_memory()),
            remote: &NoNetwork,
        };
        let plan = plan::plan(&[target], &options).unwrap();
        World { _directory: directory, store, plan, single_uid: false, single_uid_now: false }
    }

    #[test]
    fn what_a_single_id_made_is_good_only_for_a_run_that_has_no_more() {
        let mut world = World { single_uid: true, ..world(false) };
        world.record_steps(&[0, 1, 2, 3]);
        world.record_image();
        assert_eq!(world.look_up_with(false).run, BTreeSet::from([0, 1, 2, 3]));
        world.single_uid_now = true;
        let lookup = world.look_up_with(true);
        assert!(lookup.run.is_empty() && lookup.single_uid && lookup.images.len() == 1);
    }

    impl World {
        fn blob(&self, text: &str) -> Descriptor {
            let (digest, size) = self.store.put_blob(text.as_bytes()).unwrap();
            Descriptor::new("x", digest, size)
        }

        fn layer(&self, step: StepId) -> Layer {
            let descriptor = self.blob(&format!("layer {step}"));
            Layer { diff_id: DiffId(descriptor.digest), descriptor }
        }

        fn record_steps(&self, steps: &[StepId]) {
            for &id in steps {
                let (step, layer) = (&self.plan.steps[id], self.layer(id));
                let record = StepRecord {
                    diff_id: layer.diff_id,
                    layer: layer.descriptor,
                    inputs: step.inputs.clone(),
                    files: None,
                    took: 1,
                    single_uid: self.single_uid,
                    claimed_by: Claims::new(),
                };
                self.store.put_record(RecordKind::Step, &step.key.0, &record).unwrap();
            }
        }

        fn record_image(&self) {
            let record = ImageRecord {
                manifest: self.blob("manifest"),
                config: self.blob("config"),
                layers: vec![self.layer(2), self.layer(3)],
                single_uid: self.single_uid,
                took: BTreeMap::new(),
                claimed_by: Claims::new(),
            };
            self.store.put_record(RecordKind::Image, &self.plan.images[0].key.0, &record).unwrap();
        }

        fn runs(&self) -> Vec<StepId> {
            self.look_up_with(self.single_uid_now).run.into_iter().collect()
        }

        fn look_up_with(&self, single_uid: bool) -> Lookup {
            let origins = Origins::default();
            look_up(
                &self.plan,
                &Sources { store: &self.store, shared: None, origins: &origins, done: &BTreeMap::new(), single_uid: &|| single_uid },
            )
        }
    }

    #[test]
    fn what_no_record_knows_runs_with_the_sources_that_it_needs() {
        for (known, runs) in
            [(&[][..], &[0, 1, 2, 3][..]), (&[0, 1, 2], &[3]), (&[2, 3], &[]), (&[3], &[2]), (&[1, 2], &[0, 3]), (&[0, 2], &[1, 3])]
        {
            let world = world(false);
            world.record_steps(known);
            assert_eq!(world.runs(), runs, "known: {known:?}");
        }
    }

    #[test]
    fn a_record_without_its_blob_counts_as_absent() {
        let world = world(false);
        world.record_steps(&[0, 1, 2, 3]);
        std::fs::remove_file(world.store.blob_path(&world.layer(2).descriptor.digest)).unwrap();
        assert_eq!(world.runs(), [2]);
        std::fs::write(world.store.blob_path(&world.layer(2).descriptor.digest), "cut").unwrap();
        assert_eq!(world.runs(), [2], "another size");
    }

    #[test]
    fn a_finished_image_needs_no_step_but_keeps_the_records_of_its_steps_young() {
        let world = world(false);
        world.record_image();
        world.record_steps(&[0]);
        let record = world.store.root().join("records/step").join(world.plan.steps[0].key.0.hex());
        let old = SystemTime::now() - Duration::from_secs(1_000_000);
        std::fs::File::open(&record).unwrap().set_modified(old).unwrap();
        assert!(world.runs().is_empty());
        assert!(std::fs::metadata(&record).unwrap().modified().unwrap() > old + Duration::from_secs(1000));
        std::fs::remove_file(world.store.blob_path(&world.blob("config").digest)).unwrap();
        assert_eq!(world.runs(), [1, 2, 3], "an image without its config is none");
    }

    #[test]
    fn without_the_cache_everything_runs() {
        let world = world(true);
        world.record_steps(&[0, 1, 2, 3]);
        world.record_image();
        assert_eq!(world.runs(), [0, 1, 2, 3]);
    }
}
