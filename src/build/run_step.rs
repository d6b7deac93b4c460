//! RUN: the plan's description becomes a [`RunSpec`], with sources of mounts made ready.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::engine::{Engine, given, make_dir, set_mode};
use super::error::{Error, NotGiven};
use super::sandbox::{self, Access, Network, Overlay, RunSpec, Rung, SandboxError, SandboxMount};
use super::workspace::Workspace;
use crate::oci::Digest;
use crate::plan::step::{MountSource, RunMount, RunMountKind, RunOp, Sharing};
use crate::plan::{Op, Step, StepId};
use crate::report::{Event, Stream};
use crate::source::{Match, NamedFile, Node, NodeKind, RootTree, SelectOptions, Tree, select};
use crate::store::{Flight, FlightGuard, TempDir};

/// What has to outlive the command.
#[derive(Default)]
struct Held {
    overlays: Vec<Overlay>,
    flights: Vec<FlightGuard>,
}

impl Engine<'_> {
    pub(super) fn run_command(&self, id: StepId, step: &Step, run: &RunOp, workspace: &mut Workspace, work: &TempDir) -> Result<(), Error> {
        Self::check_platform(&step.platform)?;
        let root = workspace.path();
        let user = sandbox::resolve_user(root, &run.user)?;
        let mut held = Held::default();
        let argv = run.args.iter().map(|arg| arg.clone().into_bytes()).collect();
        let mut spec = RunSpec::new(root.to_owned(), self.layers.rung, user, argv);
        let pairs = run.env.iter().chain(&run.proxy_env);
        spec.env = pairs.map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes())).collect();
        spec.cwd = PathBuf::from(&run.cwd);
        spec.hostname = run.hostname.clone().unwrap_or_else(|| RunSpec::HOSTNAME.to_owned());
        spec.network = match run.network {
            crate::plan::step::Network::Host => Network::Host,
            crate::plan::step::Network::Private => Network::Private,
            crate::plan::step::Network::None => Network::None,
        };
        spec.extra_hosts.clone_from(&run.hosts);
        // As in BuildKit, a size that was asked for makes it an ordinary tmpfs.
        if run.shm_size.is_some() {
            if self.layers.rung == Rung::Chroot {
                self.reporter().warning_once("--shm-size has no effect without mounts: /dev/shm is a directory of the store's disk");
            }
            spec.mounts.push(SandboxMount::Tmpfs { target: "/dev/shm".into(), size: run.shm_size, mode: None });
        }
        spec.ca_certs = self.supplies.ca_certs.as_ref().map(|certificates| copy_certificates(certificates, work)).transpose()?;
        spec.processes = self.supplies.processes.unwrap_or(spec.processes);
        spec.memory = self.supplies.memory;
        // The working directory may be one that no WORKDIR made: `FROM` an image with one that is missing.
        self.make_working_dir(root, &run.cwd)?;
        if let Some((name, text)) = &run.script {
            let dir = work.path().join("pipes");
            make_dir(&dir)?;
            // The user of the RUN has to get there, whatever the umask is.
            set_mode(&dir, 0o755)?;
            write_script(&dir, name, text)?;
            spec.mounts.push(SandboxMount::Bind { source: dir, target: "/dev/pipes".into(), read_only: true });
        }
        // `locked` and `private` caches are one RUN's at a time; all are where a directory cannot be mounted at two places. Taken in order, so that no two RUNs wait for each other.
        let all = self.layers.rung == Rung::Chroot;
        let mut exclusive: Vec<_> = run.mounts.iter().filter_map(|mount| exclusive_cache(mount, all)).collect();
        exclusive.sort();
        exclusive.dedup();
        for id in exclusive {
            held.flights.push(self.layers.store.single_flight(Flight::CacheMount, &id)?);
        }
        for (n, mount) in run.mounts.iter().enumerate() {
            self.mount(step, mount, n, work, &mut spec, &mut held)?;
        }
        // Parents before what is mounted in them (BuildKit's order).
        spec.mounts.sort_by_key(|mount| mount.target().components().count());
        let mut output = |stream: sandbox::Stream, bytes: &[u8]| {
            let stream = match stream {
                sandbox::Stream::Stdout => Stream::Stdout,
                sandbox::Stream::Stderr => Stream::Stderr,
            };
            self.reporter().emit(Event::StepOutput { id: id as u64, stream, bytes: bytes.to_vec() });
        };
        let outcome = sandbox::run(&spec, &mut output, &self.supplies.cancel).map_err(|error| match error {
            SandboxError::Cancelled => Error::Cancelled,
            other => Error::Sandbox(other),
        })?;
        drop(held);
        workspace.untouched(&outcome.restored);
        if outcome.shared_proc {
            self.reporter().warning_once(
                "RUNs see the processes of this container in /proc: a part of it is covered here, and the kernel then lets nobody mount another",
            );
        }
        if outcome.alone {
            self.reporter().warning_once(match self.layers.rung {
                Rung::Chroot => {
                    "RUNs run one at a time: one could change what another has made, and only Linux 6.12 keeps them apart (Landlock), \
                     in a container with no_new_privs (--security-opt no-new-privileges)"
                }
                _ => {
                    "RUNs run one at a time: they would see one another's processes in /proc, and only Linux 6.12 keeps these apart \
                     (Landlock)"
                }
            });
        }
        if outcome.memory_unlimited {
            self.reporter().warning_once("[build] memory has no effect: brik has no right to make a control group here");
        }
        let command = || crate::plan::shown(&run.args.join(" "));
        if self.supplies.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let failed = match (outcome.signal, outcome.code, outcome.exhausted) {
            (None, 0, _) => return workspace.seal(),
            (_, code, Some(limit)) => Error::Exhausted { command: command(), code, limit },
            (Some(signal), _, None) => Error::Signal { command: command(), signal },
            (None, code, None) => {
                let no_process_of = outcome.no_process.then_some(spec.processes);
                Error::ExitCode { command: command(), code, no_process_of, not_given: self.secrets_not_given(step, run) }
            }
        };
        match self.layers.store.is_full() {
            true => Err(Error::NoSpace { reason: Box::new(failed) }),
            false => Err(failed),
        }
    }

    fn secrets_not_given(&self, step: &Step, run: &RunOp) -> Vec<NotGiven> {
        let not_given = |mount: &RunMount| match &mount.kind {
            RunMountKind::Secret { id, .. } if given(step, &self.supplies.secrets, id).is_none() => Some(self.not_given(step, id)),
            _ => None,
        };
        run.mounts.iter().filter_map(not_given).collect()
    }

    fn not_given(&self, step: &Step, id: &str) -> NotGiven {
        NotGiven { id: id.to_owned(), variable: given(step, &self.supplies.missing, id).cloned() }
    }

    /// Whether a RUN mounts a secret that its service should be given, and that has no value here.
    pub(super) fn lacks_secret(&self, step: &Step) -> bool {
        let Op::Run(run) = &step.op else { return false };
        let missing = |id: &String| step.services.iter().any(|service| self.supplies.missing.contains_key(&(service.clone(), id.clone())));
        run.mounts.iter().any(|mount| match &mount.kind {
            RunMountKind::Secret { id, .. } => given(step, &self.supplies.secrets, id).is_none() && missing(id),
            _ => false,
        })
    }

    fn mount(&self, step: &Step, mount: &RunMount, n: usize, work: &TempDir, spec: &mut RunSpec, held: &mut Held) -> Result<(), Error> {
        let target = PathBuf::from(&mount.target);
        let mounted = match &mount.kind {
            RunMountKind::Bind { from, read_only } => {
                let source = match from {
                    MountSource::Root { root, path } if self.layers.rung == Rung::Chroot => {
                        let state = self.source(*root, work, &format!("state-{n}"))?;
                        let matches = select(state.tree(), path.as_bytes(), &SelectOptions::default())?;
                        let copy = self.copied_source(state.tree(), &matches, work, n)?;
                        matches.first().map_or(Ok(()), |found| like(&copy, &found.node))?;
                        copy
                    }
                    MountSource::Root { root, path } => {
                        let overlay = self.mounted_source(*root, *read_only, work, n)?;
                        let source = overlay.path().join(resolved(overlay.path(), path)?);
                        held.overlays.push(overlay);
                        source
                    }
                    MountSource::Context { context, selection } => {
                        let context = &self.plan.contexts[*context];
                        self.copied_source(context, &context.matches(selection), work, n)?
                    }
                };
                SandboxMount::Bind { source, target, read_only: *read_only }
            }
            RunMountKind::Cache { id, sharing, seed, mode, uid, gid, read_only } => {
                let dir = self.layers.store.cache_mount(self.layers.ids(), id);
                let access = Access { mode: *mode, uid: *uid, gid: *gid };
                if let Some(mounts) = self.mounts {
                    mounts.restore(&self.layers, id, &mount.target, &step.services)?;
                }
                self.prepare_cache(id, seed.as_ref(), access, work, n)?;
                if let Some(mounts) = self.mounts.filter(|_| !read_only) {
                    mounts.note_used(id, &mount.target, &step.services, *sharing);
                }
                if self.layers.rung == Rung::Chroot {
                    self.layers.store.mark_cache(self.layers.ids(), id);
                }
                SandboxMount::Bind { source: dir, target, read_only: *read_only }
            }
            RunMountKind::Tmpfs { size } => SandboxMount::Tmpfs { target, size: *size, mode: None },
            RunMountKind::Secret { id, env, file, required, mode, uid, gid } => {
                let Some(value) = given(step, &self.supplies.secrets, id) else {
                    return if *required { Err(Error::SecretMissing(self.not_given(step, id))) } else { Ok(()) };
                };
                if let Some(name) = env {
                    spec.env.push((name.clone().into_bytes(), value.clone()));
                }
                if !file {
                    return Ok(());
                }
                SandboxMount::Secret { bytes: value.clone(), target, access: Access { mode: *mode, uid: *uid, gid: *gid } }
            }
            RunMountKind::Ssh { id, required, mode, uid, gid } => {
                let Some(agent) = given(step, &self.supplies.agents, id) else {
                    return if *required { Err(Error::AgentMissing { id: id.clone() }) } else { Ok(()) };
                };
                SandboxMount::SshAgent { agent: agent.clone(), target, access: Access { mode: *mode, uid: *uid, gid: *gid } }
            }
        };
        spec.mounts.push(mounted);
        Ok(())
    }

    /// A state of the build; what the command writes to it, if it may, is thrown away.
    fn mounted_source(&self, root: crate::plan::Root, read_only: bool, work: &TempDir, n: usize) -> Result<Overlay, Error> {
        let [upper, scratch, target] = ["upper", "scratch", "mount"].map(|name| work.path().join(format!("{name}-{n}")));
        make_dir(&target)?;
        let lowers = self.lowers(root)?;
        if read_only {
            return Ok(Overlay::mount(&lowers, None, None, &target)?);
        }
        make_dir(&upper)?;
        make_dir(&scratch)?;
        set_mode(&upper, 0o755)?;
        Ok(Overlay::mount(&lowers, Some(&upper), Some(&scratch), &target)?)
    }

    /// Files or a directory as a copy that the command may write to.
    fn copied_source(&self, tree: &dyn Tree, matches: &[Match], work: &TempDir, n: usize) -> Result<PathBuf, Error> {
        let dir = work.path().join(format!("mount-{n}"));
        make_dir(&dir)?;
        set_mode(&dir, 0o755)?;
        let file = matches.iter().any(|found| found.node.kind != NodeKind::Directory);
        self.copy_matches(tree, matches, &dir, if file { b"/file" } else { b"/" })?;
        Ok(if file { dir.join("file") } else { dir })
    }

    /// Makes the directory of a cache mount on first use: a copy of its seed, owner and mode included, or an empty one with `access`.
    fn prepare_cache(&self, id: &Digest, seed: Option<&MountSource>, mut access: Access, work: &TempDir, n: usize) -> Result<(), Error> {
        let dir = self.layers.store.cache_mount(self.layers.ids(), id);
        let io = |source| Error::Io { action: "create", path: dir.clone(), source };
        if self.layers.store.has_cache(self.layers.ids(), id) {
            return Ok(());
        }
        let fresh = work.path().join(format!("cache-{n}"));
        make_dir(&fresh)?;
        let mut fill = |tree: &dyn Tree, matches: &[Match]| {
            if let Some(found) = matches.first() {
                access = Access { mode: found.node.mode, uid: found.node.uid, gid: found.node.gid };
            }
            self.copy_matches(tree, matches, &fresh, b"/")
        };
        match seed {
            Some(MountSource::Root { root, path }) => {
                let source = self.source(*root, work, &format!("seed-{n}"))?;
                fill(source.tree(), &select(source.tree(), path.as_bytes(), &SelectOptions::default())?)?;
            }
            Some(MountSource::Context { context, selection }) => {
                let context = &self.plan.contexts[*context];
                fill(context, &context.matches(selection))?;
            }
            None => {}
        }
        let (uid, gid) = (rustix::fs::Uid::from_raw(access.uid), rustix::fs::Gid::from_raw(access.gid));
        if let Err(error) = rustix::fs::chown(&fresh, Some(uid), Some(gid))
            && self.layers.rung != Rung::SingleUid
        {
            return Err(io(error.into()));
        }
        // After the owner, whose change takes set-id bits away.
        set_mode(&fresh, access.mode)?;
        Ok(self.layers.store.commit_cache(self.layers.ids(), id, &fresh)?)
    }
}

/// A file of `dir`, a new directory, and nowhere else, whatever its name is.
fn write_script(dir: &Path, name: &str, text: &str) -> Result<(), Error> {
    let file = dir.join(name);
    let failed = |source| Error::Io { action: "write", path: file.clone(), source };
    if file.file_name() != Some(OsStr::new(name)) || file.parent() != Some(dir) {
        return Err(failed(io::ErrorKind::InvalidFilename.into()));
    }
    write_new(&file, text.as_bytes(), 0o755)
}

fn write_new(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let written = fs::File::create_new(file).and_then(|mut new| new.write_all(bytes));
    written.map_err(|source| Error::Io { action: "write", path: file.to_owned(), source })?;
    set_mode(file, mode)
}

/// What a RUN is shown is what was read where the certificates may lie, wherever a link leads by then.
fn copy_certificates(certificates: &NamedFile, work: &TempDir) -> Result<PathBuf, Error> {
    let bytes = certificates.read().map_err(|source| Error::Io { action: "read", path: certificates.path.clone(), source })?;
    let copy = work.path().join("certificates");
    write_new(&copy, &bytes, 0o644)?;
    Ok(copy)
}

/// Where a path of a mounted state leads, links followed inside it: never a path of the host.
fn resolved(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let tree = RootTree::open(root).map_err(|source| Error::Io { action: "open", path: root.to_owned(), source })?;
    let found = select(&tree, path.as_bytes(), &SelectOptions::default())?;
    Ok(PathBuf::from(OsStr::from_bytes(found.first().map_or(&b""[..], |found| &found.path))))
}

/// The cache that a mount needs for itself.
fn exclusive_cache(mount: &RunMount, all: bool) -> Option<Digest> {
    match &mount.kind {
        RunMountKind::Cache { id, sharing, .. } if all || matches!(sharing, Sharing::Locked | Sharing::Private) => Some(*id),
        _ => None,
    }
}

/// Gives a directory the owner and mode of the one that it is a copy of.
fn like(copy: &Path, node: &Node) -> Result<(), Error> {
    if node.kind != NodeKind::Directory {
        return Ok(());
    }
    let io = |source| Error::Io { action: "set the owner of", path: copy.to_owned(), source };
    std::os::unix::fs::chown(copy, Some(node.uid), Some(node.gid)).map_err(io)?;
    set_mode(copy, node.mode)
}

pub(super) fn open_dir(path: &Path) -> Result<fs::File, Error> {
    fs::File::open(path).map_err(|source| Error::Io { action: "open", path: path.to_owned(), source })
}
