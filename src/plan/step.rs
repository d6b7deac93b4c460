//! Steps: the smallest things that run and are cached, and the file system states that they make.

use std::net::IpAddr;
use std::path::PathBuf;

use super::Selection;
use super::key::{CacheKey, KeyInputs};
use super::mode::ModeChange;
pub use crate::config::Network;
use crate::oci::{Digest, Platform};
use crate::source::{self, PatternList, SelectOptions};

/// Index into [`Plan::steps`](super::Plan::steps).
pub type StepId = usize;
/// Index into [`Plan::bases`](super::Plan::bases).
pub type BaseId = usize;
/// Index into [`Plan::contexts`](super::Plan::contexts).
pub type ContextId = usize;

/// A file system state that a Step runs on or copies from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Root {
    Scratch,
    /// The layers of an image that no service of this run builds.
    Base(BaseId),
    /// What a Step leaves: its parent's layers and its own on top.
    Step(StepId),
}

#[derive(Debug)]
pub struct Step {
    pub key: CacheKey,
    pub inputs: KeyInputs,
    pub parent: Root,
    /// The layer does not depend on the parent (`COPY --link`): it is made on an empty root.
    pub independent: bool,
    pub op: Op,
    pub platform: Platform,
    /// Where `platform` is said.
    pub marked: Option<Mark>,
    /// As it is shown: `RUN npm ci`.
    pub text: String,
    /// Stage name or index and position in it, as in `build 2/5`.
    pub position: String,
    /// Services that need it, in the order of planning.
    pub services: Vec<String>,
    pub location: Location,
    /// Seconds since 1970 that files of the layer are dated with; `None` keeps their times.
    pub epoch: Option<i64>,
    /// Run it whatever the cache knows.
    pub no_cache: bool,
}

/// Tells a Step from its like on other platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// What the image is built for, where the Step is made for that on another platform, and for that alone.
    pub target: Option<Platform>,
}

/// Where in a Dockerfile an instruction stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub dockerfile: PathBuf,
    /// Bytes of the instruction in the Dockerfile.
    pub span: std::ops::Range<usize>,
}

#[derive(Debug)]
pub enum Op {
    Run(RunOp),
    Copy(CopyOp),
    Workdir(WorkdirOp),
}

#[derive(Debug)]
pub struct RunOp {
    pub args: Vec<String>,
    /// `RUN <<EOF` with a shebang: the script (name, text) that is mounted at `/dev/pipes/`.
    pub script: Option<(String, String)>,
    pub env: Vec<(String, String)>,
    /// Which variables come from ARG, for those who tell of them.
    pub declared: Vec<String>,
    /// Proxy variables that are set but are no part of the key.
    pub proxy_env: Vec<(String, String)>,
    pub cwd: String,
    pub user: String,
    pub network: Network,
    pub mounts: Vec<RunMount>,
    pub hosts: Vec<(String, IpAddr)>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<u64>,
    pub hostname: Option<String>,
}

#[derive(Debug)]
pub struct RunMount {
    /// Absolute path in the image.
    pub target: String,
    pub kind: RunMountKind,
}

#[derive(Debug)]
pub enum RunMountKind {
    Bind { from: MountSource, read_only: bool },
    Cache { id: Digest, sharing: Sharing, seed: Option<MountSource>, mode: u32, uid: u32, gid: u32, read_only: bool },
    Tmpfs { size: Option<u64> },
    Secret { id: String, env: Option<String>, file: bool, required: bool, mode: u32, uid: u32, gid: u32 },
    Ssh { id: String, required: bool, mode: u32, uid: u32, gid: u32 },
}

#[derive(Debug)]
pub enum MountSource {
    /// What a path of a context stands for.
    Context { context: ContextId, selection: Selection },
    /// A path in another file system state.
    Root { root: Root, path: String },
}

impl RunMountKind {
    /// Where its files come from, if they come from somewhere.
    pub fn source(&self) -> Option<&MountSource> {
        match self {
            Self::Bind { from, .. } => Some(from),
            Self::Cache { seed, .. } => seed.as_ref(),
            Self::Tmpfs { .. } | Self::Secret { .. } | Self::Ssh { .. } => None,
        }
    }
}

impl MountSource {
    fn selection(&self) -> Option<(ContextId, &Selection)> {
        match self {
            Self::Context { context, selection } => Some((*context, selection)),
            Self::Root { .. } => None,
        }
    }

    fn root(&self) -> Option<Root> {
        match self {
            Self::Root { root, .. } => Some(*root),
            Self::Context { .. } => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    Shared,
    Private,
    Locked,
}

#[derive(Debug)]
pub struct CopyOp {
    /// ADD: archives are unpacked unless `unpack` says otherwise.
    pub add: bool,
    pub sources: Vec<CopySource>,
    /// Absolute path in the image; a trailing slash is significant.
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<ModeChange>,
    pub parents: bool,
    pub exclude: Vec<String>,
    pub unpack: Option<bool>,
    /// `--checksum` of a URL.
    pub checksum: Option<Digest>,
}

impl CopyOp {
    /// How sources in other states are selected.
    pub fn select_options(&self) -> Result<SelectOptions, source::Error> {
        Ok(SelectOptions { wildcards: true, parents: self.parents, exclude: PatternList::new(&self.exclude)? })
    }
}

#[derive(Debug)]
pub enum CopySource {
    Context {
        context: ContextId,
        selection: Selection,
    },
    Root {
        root: Root,
        pattern: String,
    },
    Inline {
        name: String,
        text: String,
    },
    /// A file that was fetched: its content is a blob of the store, its mtime the server's `Last-Modified`.
    Url {
        /// For messages, without credentials.
        url: String,
        digest: Digest,
        name: String,
        modified: Option<i64>,
    },
}

impl CopySource {
    fn selection(&self) -> Option<(ContextId, &Selection)> {
        match self {
            Self::Context { context, selection } => Some((*context, selection)),
            Self::Root { .. } | Self::Inline { .. } | Self::Url { .. } => None,
        }
    }

    fn root(&self) -> Option<Root> {
        match self {
            Self::Root { root, .. } => Some(*root),
            Self::Context { .. } | Self::Inline { .. } | Self::Url { .. } => None,
        }
    }
}

#[derive(Debug)]
pub struct WorkdirOp {
    pub path: String,
    /// USER in force: owns the directories that are made.
    pub user: String,
}

impl Step {
    /// The position with the platform where that is said, as BuildKit has it: `linux/arm64 build 2/5`, `linux/amd64->arm64 build 2/5`.
    pub fn place(&self) -> String {
        match &self.marked {
            None => self.position.clone(),
            Some(Mark { target: None }) => format!("{} {}", self.platform, self.position),
            Some(Mark { target: Some(target) }) => {
                let (whole, system) = (target.to_string(), format!("{}/", self.platform.os));
                format!("{}->{} {}", self.platform, whole.strip_prefix(&system).unwrap_or(&whole), self.position)
            }
        }
    }

    /// Name or index of the stage, as in `build`.
    pub fn stage(&self) -> &str {
        stage_of(&self.position)
    }

    /// What its sources and mounts take from contexts.
    pub fn selections(&self) -> Vec<(ContextId, &Selection)> {
        match &self.op {
            Op::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.source()?.selection()).collect(),
            Op::Copy(copy) => copy.sources.iter().filter_map(CopySource::selection).collect(),
            Op::Workdir(_) => Vec::new(),
        }
    }

    /// States, other than the parent, that must be there before the Step can run.
    pub fn sources(&self) -> Vec<Root> {
        match &self.op {
            Op::Run(run) => run.mounts.iter().filter_map(|mount| mount.kind.source()?.root()).collect(),
            Op::Copy(copy) => copy.sources.iter().filter_map(CopySource::root).collect(),
            Op::Workdir(_) => Vec::new(),
        }
    }
}

/// The stage of a position.
pub(super) fn stage_of(position: &str) -> &str {
    position.rsplit_once(' ').map_or(position, |(stage, _)| stage)
}
