//! Executes Steps: mounts the parent, lets the operation change it, and makes a layer of the change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use super::error::Error;
use super::fan_out::fan_out;
use super::layers::Layers;
use super::lookup::{StepRecord, recorded};
use super::sandbox::{CancelFlag, Overlay, Rung};
use crate::image::{Codec, Layer, LayerOptions, LayerWriter, Mtime, normalise_mtimes, write_layer};
use crate::oci::{Descriptor, Platform};
use crate::plan::{Op, Plan, Root, Step, StepId};
use crate::report::{Event, Outcome, Reporter};
use crate::store::{RecordKind, TempDir};

/// Layers of one base that are pulled at the same time.
const PULLS_AT_ONCE: usize = 6;

/// What Steps may use besides the plan.
pub struct Supplies {
    /// By service and id. Values are known to the redactor.
    pub secrets: BTreeMap<(String, String), Vec<u8>>,
    /// Sockets of agents, by service and id.
    pub agents: BTreeMap<(String, String), PathBuf>,
    pub ca_certs: Option<PathBuf>,
    pub cancel: CancelFlag,
}

pub struct Engine<'a> {
    pub plan: &'a Plan,
    pub layers: Layers<'a>,
    pub supplies: &'a Supplies,
    results: Vec<OnceLock<Layer>>,
}

impl<'a> Engine<'a> {
    pub fn new(plan: &'a Plan, layers: Layers<'a>, supplies: &'a Supplies, known: &BTreeMap<StepId, Layer>) -> Self {
        let results: Vec<OnceLock<Layer>> = plan.steps.iter().map(|_| OnceLock::new()).collect();
        for (&step, layer) in known {
            let _ = results[step].set(layer.clone());
        }
        Self { plan, layers, supplies, results }
    }

    /// Whether owners are lost here.
    pub fn single_uid(&self) -> bool {
        self.layers.rung == Rung::SingleUid
    }

    pub(super) fn reporter(&self) -> &Reporter {
        self.layers.reporter
    }

    /// The layer of a Step that has run or was cached.
    pub fn layer(&self, step: StepId) -> Option<&Layer> {
        self.results[step].get()
    }

    /// Runs a Step, unless another process has meanwhile. Its parent and sources are there.
    pub fn run(&self, id: StepId) -> Result<Outcome, Error> {
        if self.supplies.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let step = &self.plan.steps[id];
        let started = Instant::now();
        self.reporter().emit(Event::StepStarted {
            id: id as u64,
            services: step.services.clone(),
            name: format!("[{} {}] {}", step.services.first().map_or("", String::as_str), step.position, step.text),
            reason: None,
        });
        let result = self.run_unless_recorded(id, step, started);
        let outcome = match &result {
            Ok(outcome) => *outcome,
            Err(Error::Cancelled) => Outcome::Cancelled,
            Err(_) => Outcome::Failed,
        };
        self.reporter().emit(Event::StepFinished { id: id as u64, outcome, seconds: started.elapsed().as_secs_f64() });
        result
    }

    fn run_unless_recorded(&self, id: StepId, step: &Step, started: Instant) -> Result<Outcome, Error> {
        let _flight = self.layers.store.single_flight(&step.key.0)?;
        if let Some(record) = recorded(self.layers.store, step, &|| self.single_uid()).filter(|_| !step.no_cache) {
            let _ = self.results[id].set(Layer { diff_id: record.diff_id, descriptor: record.layer });
            return Ok(Outcome::Cached);
        }
        let layer = self.execute(id, step)?;
        let took = started.elapsed().as_millis() as u64;
        let record = StepRecord {
            diff_id: layer.diff_id,
            layer: layer.descriptor.clone(),
            inputs: step.inputs.clone(),
            took,
            single_uid: self.single_uid(),
        };
        self.layers.store.put_record(RecordKind::Step, &step.key.0, &record)?;
        let _ = self.results[id].set(layer);
        Ok(Outcome::Built)
    }

    fn execute(&self, id: StepId, step: &Step) -> Result<Layer, Error> {
        let work = self.layers.store.temp_dir()?;
        let [upper, scratch, root] = ["fs", "work", "root"].map(|name| work.path().join(name));
        for dir in [&upper, &scratch, &root] {
            make_dir(dir)?;
        }
        // The root of an image is 0755, whatever the umask.
        set_mode(&upper, 0o755)?;
        let lowers = if step.independent { Vec::new() } else { self.lowers(step.parent)? };
        let overlay = Overlay::mount(&lowers, Some(&upper), Some(&scratch), &root)?;
        match &step.op {
            Op::Run(run) => self.run_command(id, step, run, overlay.path(), &work)?,
            Op::Copy(copy) => self.copy(copy, step.epoch, overlay.path(), &work)?,
            Op::Workdir(workdir) => self.workdir(workdir, overlay.path())?,
        }
        drop(overlay);
        self.commit(step.epoch, &upper)
    }

    /// Makes a layer of an upper directory, and the directory its snapshot.
    fn commit(&self, epoch: Option<i64>, upper: &Path) -> Result<Layer, Error> {
        let store = self.layers.store;
        let mtime = match epoch {
            Some(epoch) => {
                normalise_mtimes(upper, epoch)?;
                Mtime::Normalized(epoch)
            }
            None => Mtime::Preserve,
        };
        let options = LayerOptions { mtime, owner_xattr: self.layers.rung == Rung::SingleUid };
        let codec = Codec::default();
        let io = |source| Error::Io { action: "write a layer to", path: store.root().to_owned(), source };
        let mut writer = LayerWriter::new(codec, store.blob_writer()?).map_err(io)?;
        write_layer(upper, &options, &mut writer)?;
        let (blob, summary) = writer.finish().map_err(io)?;
        let (digest, size) = blob.commit()?;
        store.commit_snapshot(self.layers.ids(), &summary.diff_id.0, upper)?;
        Ok(Layer { diff_id: summary.diff_id, descriptor: Descriptor::new(codec.media_type(), digest, size) })
    }

    /// The snapshots of a state, top first, as overlayfs wants them.
    pub(super) fn lowers(&self, root: Root) -> Result<Vec<PathBuf>, Error> {
        let (base, steps) = self.plan.chain(root);
        let mut lowers: Vec<PathBuf> = Vec::new();
        if let Some(base) = base {
            let base = &self.plan.bases[base];
            let layers: Vec<Layer> = base_layers(base);
            // Pulls overlap; unpacking then finds its blobs.
            let absent = |layer: &&Layer| self.layers.store.snapshot(self.layers.ids(), &layer.diff_id.0).is_none();
            let missing: Vec<&Layer> = layers.iter().filter(absent).collect();
            if let Some(reference) = &base.reference {
                fan_out(&missing, PULLS_AT_ONCE, |layer| self.layers.pull(&layer.descriptor, reference))?;
            }
            for layer in &layers {
                lowers.push(self.layers.snapshot(layer, base.reference.as_ref(), &lowers)?);
            }
        }
        for step in steps {
            let layer = self.layer(step).ok_or(Error::Cancelled)?;
            lowers.push(self.layers.snapshot(layer, None, &lowers)?);
        }
        lowers.reverse();
        // overlayfs refuses a directory that stands twice. A layer's topmost place decides all that it touches.
        let mut seen = BTreeSet::new();
        lowers.retain(|lower| seen.insert(lower.clone()));
        Ok(lowers)
    }

    /// Mounts a state read-only below `work`.
    pub(super) fn mount_source(&self, root: Root, work: &TempDir, name: &str) -> Result<Overlay, Error> {
        let target = work.path().join(name);
        make_dir(&target)?;
        Ok(Overlay::mount(&self.lowers(root)?, None, None, &target)?)
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
