//! Directories of `RUN --mount=type=cache` that persist in cache repositories (`[cache] mounts` of brik.toml).
//!
//! | file | does |
//! |---|---|
//! | `mod` | [`Mounts`]: what a run knows of its cache mounts |
//! | `restore` | entry → directory: when a RUN is about to mount one that the store does not have |
//! | `arriving` | the chunks of a repository as the stream that they were cut from |
//! | `save` | directory → entry: when the last RUN that mounts it has succeeded |
//! | `cut` | a directory as a tar, cut where its content says so, and packed |
//! | `stamp` | whether a directory is as it was when it was last brought to or from a repository |
//!
//! Nothing here fails a build, and nothing is asked for a RUN that does not run. What lies in a cache mount may depend on who had it before;
//! so it does in the store.

mod arriving;
mod cut;
mod restore;
mod save;
mod stamp;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::Shared;
use crate::oci::{Digest, Reference};
use crate::plan::step::{RunMountKind, Sharing};
use crate::plan::{Op, Step};
use crate::store::IdMapping;

/// The cache mounts of a run.
pub struct Mounts<'a> {
    shared: &'a Shared<'a>,
    /// Bytes of a directory's tar.
    limit: u64,
    /// By id: those that a RUN has mounted, for writing.
    used: Mutex<BTreeMap<Digest, Used>>,
    /// Those that repositories knew.
    found: Mutex<BTreeMap<Digest, Found>>,
}

#[derive(Clone)]
struct Used {
    /// Where it is mounted, for people.
    target: String,
    /// Whose Steps mount it.
    services: Vec<String>,
    /// Some RUN wants it for itself.
    exclusive: bool,
}

/// How a restore has ended.
#[derive(Clone)]
enum Found {
    At(Reference),
    /// Not all of it is what it should be: nothing that its entry says is to be relied on.
    Broken,
}

impl<'a> Mounts<'a> {
    /// `limit`: bytes that a directory may hold, each file with its header.
    pub fn new(shared: &'a Shared<'a>, limit: u64) -> Self {
        Self { shared, limit, used: Mutex::default(), found: Mutex::default() }
    }

    /// Notes that a RUN mounts a cache and may write to it.
    pub(super) fn note_used(&self, id: &Digest, target: &str, services: &[String], sharing: Sharing) {
        let mut used = lock(&self.used);
        let new = || Used { target: target.to_owned(), services: Vec::new(), exclusive: false };
        let known = used.entry(*id).or_insert_with(new);
        known.exclusive |= matches!(sharing, Sharing::Locked | Sharing::Private);
        known.services.extend(services.iter().filter(|service| !known.services.contains(service)).cloned().collect::<Vec<_>>());
    }
}

/// The caches that a Step may write to.
pub(super) fn written_by(step: &Step) -> impl Iterator<Item = Digest> {
    let mounts = match &step.op {
        Op::Run(run) => &run.mounts[..],
        Op::Copy(_) | Op::Workdir(_) => &[],
    };
    mounts.iter().filter_map(|mount| match &mount.kind {
        RunMountKind::Cache { id, read_only: false, .. } => Some(*id),
        _ => None,
    })
}

/// What a cache stands under in a repository. One without owners is of no use to those who have them.
fn key(ids: IdMapping, id: &Digest) -> Digest {
    match ids {
        IdMapping::SingleUid => Digest::of(format!("{id} of a single user").as_bytes()),
        _ => *id,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
