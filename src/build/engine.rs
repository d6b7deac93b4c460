//! Executes Steps: opens the parent as a workspace, lets the operation change it, and makes a layer of the change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use super::error::Error;
use super::layers::Layers;
use super::lookup::Lookup;
use super::mounts::Mounts;
use super::run::RunOptions;
use super::sandbox::{CancelFlag, Rung};
use super::skeleton::states_read;
use super::trails::put_files;
use super::workspace::{Source, Workspaces, stacked};
use crate::cache::{Belief, Claims, Shared, StepRecord, recorded};
use crate::image::{BorrowedFiles, without_hidden};
use crate::oci::{Layer, Platform};
use crate::plan::{CacheKey, Op, Plan, Root, Step, StepId};
use crate::report::{Event, Outcome, Reporter};
use crate::source::NamedFile;
use crate::store::{Flight, RecordKind, TempDir};

/// What Steps may use besides the plan.
pub struct Supplies {
    /// By service and id. Values are known to the redactor.
    pub secrets: BTreeMap<(String, String), Vec<u8>>,
    /// By service and id: those that a service should be given, and that have no value here; the variables that they are taken from.
    pub missing: BTreeMap<(String, String), String>,
    /// Sockets of agents, by service and id.
    pub agents: BTreeMap<(String, String), PathBuf>,
    pub ca_certs: Option<NamedFile>,
    /// Processes of a RUN at the same time, if not the usual number.
    pub processes: Option<u32>,
    /// Bytes of memory of a RUN, if it is limited.
    pub memory: Option<u64>,
    pub cancel: CancelFlag,
}

pub struct Engine<'a> {
    pub plan: &'a Plan,
    pub layers: Layers<'a>,
    pub supplies: &'a Supplies,
    shared: Option<&'a Shared<'a>>,
    /// Cache repositories that may know what this plan's Steps lead to.
    pub(super) asked: Option<&'a Shared<'a>>,
    /// Where cache mounts persist, if they do.
    pub(super) mounts: Option<&'a Mounts<'a>>,
    /// Why Steps run, in a line.
    reasons: &'a BTreeMap<StepId, String>,
    results: Vec<OnceLock<Done>>,
    /// Steps whose files another Step of this run works on or copies.
    needed: BTreeSet<StepId>,
    /// States whose files some Step of this run reads.
    read: BTreeSet<Root>,
    /// Steps whose layers are an image's.
    shipped: BTreeSet<StepId>,
    workspaces: Workspaces,
}

/// A Step that need not run any more.
struct Done {
    record: StepRecord,
    /// What it may be found by: its key, unless something was made without its secret; that of its content, where that was found out. And on
    /// whose word it rests that this leads to it.
    keys: Vec<(CacheKey, Claims)>,
}

impl Done {
    fn known(record: StepRecord, key: CacheKey) -> Self {
        Self { keys: vec![(key, record.claimed_by.clone())], record }
    }
}

impl<'a> Engine<'a> {
    pub fn new(plan: &'a Plan, layers: Layers<'a>, supplies: &'a Supplies, lookup: &Lookup, options: &RunOptions<'a>) -> Self {
        let results: Vec<OnceLock<Done>> = plan.steps.iter().map(|_| OnceLock::new()).collect();
        for (&step, record) in &lookup.steps {
            let _ = results[step].set(Done::known(record.clone(), plan.steps[step].key));
        }
        // Repositories that have never heard of these images need not be asked for each result of it.
        let asked = options.shared.filter(|_| lookup.shared.any);
        let needed = lookup.run.iter().flat_map(|&id| used_by(plan, &plan.steps[id])).collect();
        let read = states_read(plan, lookup);
        for root in &read {
            let (base, step) = match root {
                Root::Scratch => (None, None),
                Root::Base(base) => (Some(&plan.bases[*base]), None),
                Root::Step(step) => (None, lookup.steps.get(step)),
            };
            let pulled = base.into_iter().flat_map(|base| &base.manifest.layers).chain(step.map(|step| &step.layer));
            pulled.for_each(|layer| layers.origins.want(&layer.digest));
        }
        let shipped = plan.images.iter().flat_map(|image| plan.chain(image.root).1).collect();
        Self {
            plan,
            layers,
            supplies,
            shared: options.shared,
            asked,
            mounts: options.mounts,
            reasons: options.reasons,
            results,
            needed,
            read,
            shipped,
            workspaces: Workspaces::default(),
        }
    }

    pub(super) fn is_shipped(&self, step: StepId) -> bool {
        self.shipped.contains(&step)
    }

    /// Whether some Step of this run reads files of this state.
    pub(super) fn reads(&self, root: Root) -> bool {
        self.read.contains(&root)
    }

    /// Whether owners are lost here.
    pub fn single_uid(&self) -> bool {
        self.layers.rung == Rung::SingleUid
    }

    pub(super) fn reporter(&self) -> &Reporter {
        self.layers.reporter
    }

    /// The layer of a Step that has run or was cached.
    pub fn layer(&self, step: StepId) -> Option<Layer> {
        Some(self.results[step].get()?.record.layer())
    }

    /// What is remembered of such a Step.
    pub fn record(&self, step: StepId) -> Option<StepRecord> {
        Some(self.results[step].get()?.record.clone())
    }

    /// What such a Step may be found by.
    pub fn keys(&self, step: StepId) -> &[(CacheKey, Claims)] {
        self.results[step].get().map_or(&[], |done| &done.keys)
    }

    /// Whether a Step is what its key says: not what was made of a Step that lacked its secret.
    pub fn is_lasting(&self, step: StepId) -> bool {
        self.results[step].get().is_none_or(|done| done.keys.iter().any(|(key, _)| *key == self.plan.steps[step].key))
    }

    /// Runs a Step, unless another process has meanwhile. Its parent and sources are there.
    pub fn run(&self, id: StepId) -> Result<(), Error> {
        if self.supplies.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let step = &self.plan.steps[id];
        let started = Instant::now();
        self.reporter().emit(Event::StepStarted {
            id: id as u64,
            services: step.services.clone(),
            name: format!("[{} {}] {}", step.services.first().map_or("", String::as_str), step.place(), step.text),
            reason: self.reasons.get(&id).cloned(),
        });
        let result = self.run_unless_recorded(id, step, started);
        let outcome = match &result {
            Ok(outcome) => *outcome,
            Err(Error::Cancelled) => Outcome::Cancelled,
            // What is gone is looked up again, and then this Step runs.
            Err(error) if error.gone().is_some() => Outcome::Cancelled,
            Err(_) => Outcome::Failed,
        };
        self.reporter().emit(Event::StepFinished { id: id as u64, outcome, seconds: started.elapsed().as_secs_f64() });
        result.map(drop)
    }

    fn run_unless_recorded(&self, id: StepId, step: &'a Step, started: Instant) -> Result<Outcome, Error> {
        let store = self.layers.store;
        let flight = store.single_flight(Flight::Step, &step.key.0)?;
        let known = recorded(store, &step.key, self.belief(step), &|| self.single_uid()).filter(|_| !step.no_cache);
        if let Some(record) = known {
            self.layers.origins.note_recorded(&record);
            let _ = self.results[id].set(Done::known(record, step.key));
            return Ok(Outcome::Cached);
        }
        let work = store.temp_dir()?;
        let second_key = self.content_key(step, &work)?;
        let found = second_key.filter(|_| !step.no_cache).map(|key| self.found(step, &key)).transpose()?.flatten();
        let (of_content, outcome) = match found {
            Some(record) => {
                let files = record.files.clone().filter(|files| self.layers.take_carried(files));
                (StepRecord { inputs: step.inputs.clone(), files, ..record }, Outcome::Cached)
            }
            None => {
                // Nobody waits for the list of files alone.
                let ((layer, claimed_by), files) = thread::scope(|scope| {
                    let files = (!step.selections().is_empty()).then(|| scope.spawn(|| put_files(self.plan, step, store)));
                    let made = self.execute(id, step, &work)?;
                    Ok::<_, Error>((made, files.and_then(|files| files.join().ok().flatten())))
                })?;
                let record = StepRecord {
                    diff_id: layer.diff_id,
                    layer: layer.descriptor,
                    inputs: step.inputs.clone(),
                    files,
                    took: started.elapsed().as_millis() as u64,
                    single_uid: self.single_uid(),
                    claimed_by,
                };
                self.layers.origins.note_recorded(&record);
                (record, Outcome::Built)
            }
        };
        let record = StepRecord { claimed_by: &of_content.claimed_by | &self.claims_below(step), ..of_content.clone() };
        let keys = self.lasting_keys(step, second_key, outcome).into_iter();
        let keys = keys.map(|key| (key, if second_key == Some(key) { of_content.claimed_by.clone() } else { record.claimed_by.clone() }));
        let keys: Vec<(CacheKey, Claims)> = keys.collect();
        // Of what is only claimed the store says nothing: it would count as its own in the next run.
        for (key, claims) in keys.iter().filter(|_| self.layers.may_use(&record.layer) && self.layers.may_use_layer(&record.layer())) {
            store.put_record_soon(RecordKind::Step, &key.0, &StepRecord { claimed_by: claims.clone(), ..record.clone() })?;
        }
        store.hold_until_durable(flight)?;
        let _ = self.results[id].set(Done { record, keys });
        Ok(outcome)
    }

    /// Under what the result of a Step is remembered. What is made without a secret that is only missing here would be taken for what is
    /// made with it, by everybody who has it; so would what is made of that, but for the key that says what that holds.
    fn lasting_keys(&self, step: &Step, second_key: Option<CacheKey>, outcome: Outcome) -> Vec<CacheKey> {
        if outcome == Outcome::Built && self.lacks_secret(step) {
            return Vec::new();
        }
        let lasting = used_by(self.plan, step).all(|id| self.is_lasting(id));
        lasting.then_some(step.key).into_iter().chain(second_key).collect()
    }

    fn belief<'s>(&'s self, step: &'s Step) -> Belief<'s> {
        Belief { shared: self.shared, services: &step.services }
    }

    /// On whose word it rests that the states which a Step works on are what their definitions lead to.
    fn claims_below(&self, step: &Step) -> Claims {
        used_by(self.plan, step).filter_map(|id| self.results[id].get()).flat_map(|done| done.record.claimed_by.iter().cloned()).collect()
    }

    /// What is known of a Step by the key of its content: here, or in cache repositories.
    fn found(&self, step: &Step, key: &CacheKey) -> Result<Option<StepRecord>, Error> {
        let single_uid = || self.single_uid();
        if let Some(record) = recorded(self.layers.store, key, self.belief(step), &single_uid) {
            // What is only claimed to be what the Step works on may be known to others for theirs. A RUN would need it anyway.
            let is_ours = || used_by(self.plan, step).filter_map(|id| self.layer(id)).all(|layer| self.layers.may_use_layer(&layer));
            if matches!(step.op, Op::Run(_)) && !is_ours() {
                [step.parent].into_iter().chain(step.sources()).try_for_each(|root| self.lowers(root).map(drop))?;
            }
            if is_ours() {
                self.layers.origins.note_recorded(&record);
                return Ok(Some(record));
            }
        }
        let Some(entry) = self.asked.and_then(|asked| asked.step(key, &step.services)) else { return Ok(None) };
        self.layers.origins.note_step(&step.key, &entry);
        Ok(Some(entry.record).filter(|record| !record.single_uid || single_uid()))
    }

    /// The layer that a Step makes of what it works on, and on whose word it rests how that looks.
    fn execute(&self, id: StepId, step: &'a Step, work: &TempDir) -> Result<(Layer, Claims), Error> {
        let (lowers, claims) = match step.independent {
            true => (Vec::new(), Claims::new()),
            false => match self.skeleton(step, work) {
                Some(skeleton) => skeleton,
                None => (self.lowers(step.parent)?, Claims::new()),
            },
        };
        let mut workspace = self.workspaces.open(self.layers.rung, self.layers.store, lowers, work)?;
        let needed = self.needed.contains(&id);
        let mut borrowed = BorrowedFiles::default();
        match &step.op {
            Op::Run(run) => self.run_command(id, step, run, &mut workspace, work)?,
            Op::Copy(copy) => borrowed = self.copy(copy, step.epoch, workspace.path(), work, !needed)?,
            Op::Workdir(workdir) => self.workdir(workdir, workspace.path())?,
        }
        let goes_on = |next: &Step| next.parent == Root::Step(id) && !next.independent;
        let change = workspace.finish(needed && !step.independent && self.plan.steps.iter().any(goes_on))?;
        let layer = self.write_layer(id, step.epoch, &change.upper, &borrowed)?;
        // Without the files that were borrowed it is none.
        if borrowed.is_empty() {
            let snapshot = self.layers.store.commit_snapshot(self.layers.ids(), &layer.diff_id.0, &change.upper)?;
            self.workspaces.keep(change, snapshot)?;
        }
        Ok((layer, claims))
    }

    /// The snapshots of a state, top first, as overlayfs wants them.
    pub(super) fn lowers(&self, root: Root) -> Result<Vec<PathBuf>, Error> {
        let lowers = self.layers.snapshots(&self.state_layers(root)?)?;
        let stack = lowers.into_iter().fold(Vec::new(), |lowers, next| stacked(next, lowers));
        let at_store = |source| Error::Io { action: "read a layer in", path: self.layers.store.root().to_owned(), source };
        without_hidden(stack).map_err(at_store)
    }

    /// The layers of a state, lowest first. Its Steps have run.
    pub(super) fn state_layers(&self, root: Root) -> Result<Vec<Layer>, Error> {
        let (base, steps) = self.plan.chain(root);
        let mut layers = base.map(|base| base_layers(&self.plan.bases[base])).unwrap_or_default();
        for step in steps {
            layers.push(self.layer(step).ok_or(Error::Cancelled)?);
        }
        Ok(layers)
    }

    /// Opens a state to read from.
    pub(super) fn source(&self, root: Root, work: &TempDir, name: &str) -> Result<Source, Error> {
        Source::open(self.layers.rung, self.lowers(root)?, &work.path().join(name))
    }

    /// Refuses a RUN for another platform than the machine's, unless an emulator is registered for it.
    pub(super) fn check_platform(platform: &Platform) -> Result<(), Error> {
        let host = Platform::host();
        let same = host.architecture == platform.architecture || (host.architecture == "amd64" && platform.architecture == "386");
        let arch = match platform.architecture.as_str() {
            "arm64" => "aarch64",
            "amd64" => "x86_64",
            "386" => "i386",
            other => other,
        };
        if same || Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{arch}")).exists() {
            return Ok(());
        }
        Err(Error::ForeignPlatform { platform: platform.to_string() })
    }
}

/// The Steps that made what a Step works on.
fn used_by(plan: &Plan, step: &Step) -> impl Iterator<Item = StepId> {
    let parent = (!step.independent).then_some(step.parent);
    parent.into_iter().chain(step.sources()).flat_map(|root| plan.chain(root).1)
}

/// What a service was given under an id: that of the first service of the Step that was given something.
pub(super) fn given<'s, T>(step: &Step, supplies: &'s BTreeMap<(String, String), T>, id: &str) -> Option<&'s T> {
    step.services.iter().find_map(|service| supplies.get(&(service.clone(), id.to_owned())))
}

/// The layers of a base image: DiffIds from its config, descriptors from its manifest.
pub fn base_layers(base: &crate::plan::BaseImage) -> Vec<Layer> {
    let pairs = base.config.rootfs.diff_ids.iter().zip(&base.manifest.layers);
    pairs.map(|(diff_id, descriptor)| Layer { diff_id: *diff_id, descriptor: descriptor.clone() }).collect()
}

pub(super) fn make_dir(path: &Path) -> Result<(), Error> {
    fs::create_dir(path).map_err(|source| Error::Io { action: "create", path: path.to_owned(), source })
}

pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|source| Error::Io {
        action: "set the mode of",
        path: path.to_owned(),
        source,
    })
}
