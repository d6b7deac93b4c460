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
    /// Made with a single id, which keeps no owners: good only where no more can be had.
    #[serde(default)]
    pub single_uid: bool,
}

/// What an image key led to. All blobs are named by the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImageRecord {
    pub manifest: Descriptor,
    pub config: Descriptor,
    pub layers: Vec<Layer>,
    /// Some layer of it was made with a single id.
    #[serde(default)]
    pub single_uid: bool,
}

/// The state of the cache for one plan.
pub struct Lookup {
    /// Finished images, by index in [`Plan::images`].
    pub images: BTreeMap<usize, ImageRecord>,
    /// Layers of Steps that need not run.
    pub layers: BTreeMap<StepId, Layer>,
    /// Steps that have to run, parents before children.
    pub run: BTreeSet<StepId>,
    /// Something of it was made with a single id.
    pub single_uid: bool,
}

/// The record of a Step, if its blob is here. One that was made with a single id counts only if `single_uid` says that this run has no more.
pub fn recorded(store: &Store, step: &Step, single_uid: &dyn Fn() -> bool) -> Option<StepRecord> {
    let record: StepRecord = store.record(RecordKind::Step, &step.key.0)?;
    let here = store.blob_size(&record.layer.digest) == Some(record.layer.size);
    (here && (!record.single_uid || single_uid())).then_some(record)
}

/// `single_uid` is asked only where it matters.
pub fn look_up(plan: &Plan, store: &Store, single_uid: &dyn Fn() -> bool) -> Lookup {
    let mut lookup = Lookup { images: BTreeMap::new(), layers: BTreeMap::new(), run: BTreeSet::new(), single_uid: false };
    let mut noted = BTreeSet::new();
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
        match record.filter(complete).filter(|record| !record.single_uid || single_uid()) {
            Some(record) => {
                lookup.single_uid |= record.single_uid;
                note_use(plan, store, image.root, &mut noted);
                lookup.images.insert(index, record);
            }
            None => need(plan, store, &mut lookup, image.root, single_uid),
        }
    }
    lookup
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

/// Notes the Steps of a state as cached or to be run, with what those that run need.
fn need(plan: &Plan, store: &Store, lookup: &mut Lookup, root: Root, single_uid: &dyn Fn() -> bool) {
    let mut pending = vec![root];
    while let Some(root) = pending.pop() {
        for id in plan.chain(root).1 {
            if lookup.layers.contains_key(&id) || lookup.run.contains(&id) {
                continue;
            }
            let step = &plan.steps[id];
            match recorded(store, step, single_uid).filter(|_| !step.no_cache) {
                Some(record) => {
                    lookup.single_uid |= record.single_uid;
                    lookup.layers.insert(id, Layer { diff_id: record.diff_id, descriptor: record.layer });
                }
                None => {
                    lookup.run.insert(id);
                    pending.extend(step.sources());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ImageFormat;
    use crate::oci::{Digest, Platform, Reference};
    use crate::plan::{self, BaseImage, Checkout, Dockerfile, Download, Options, Remote, ServiceNames, Target};
    use crate::source::{GitRef, StatCache};
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
            epoch: Some(0),
            created: None,
            contexts: plan::NamedContexts::default(),
            platforms: vec![Platform::host()],
            implicit_platform: true,
        };
        let options = Options {
            build_platform: Platform::host(),
            format: ImageFormat::Oci,
            no_cache,
            hosts: Vec::new(),
            shm_size: None,
            names: &ServiceNames::default(),
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
        assert_eq!(look_up(&world.plan, &world.store, &|| false).run, BTreeSet::from([0, 1, 2, 3]));
        world.single_uid_now = true;
        let lookup = look_up(&world.plan, &world.store, &|| world.single_uid_now);
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
                    took: 1,
                    single_uid: self.single_uid,
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
            };
            self.store.put_record(RecordKind::Image, &self.plan.images[0].key.0, &record).unwrap();
        }

        fn runs(&self) -> Vec<StepId> {
            look_up(&self.plan, &self.store, &|| self.single_uid_now).run.into_iter().collect()
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
