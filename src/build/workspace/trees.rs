//! Trees that Steps have left, for those that go on from there: a stage of many RUNs copies its base once.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::super::engine::make_dir;
use super::super::error::Error;
use crate::store::TempDir;

/// Idle trees that are kept; each is a whole root file system on disk.
const IDLE: usize = 4;

/// A root file system as plain files in a directory of its own, which also has room beside it for what a RUN covers.
#[derive(Debug)]
pub struct Tree {
    pub(super) root: PathBuf,
    #[allow(dead_code, reason = "removed with the tree")]
    directory: TempDir,
}

impl Tree {
    /// An empty one.
    pub(super) fn new(directory: TempDir) -> Result<Self, Error> {
        let root = directory.path().join("root");
        make_dir(&root)?;
        Ok(Self { root, directory })
    }
}

/// A tree that a Step has left, over whose layers its own will be.
pub struct Left {
    pub(super) tree: Tree,
    pub(super) lowers: Vec<PathBuf>,
}

/// Idle trees by the snapshots that they show, the longest idle first.
#[derive(Debug, Default)]
pub struct Trees(Mutex<Vec<(Vec<PathBuf>, Tree)>>);

impl Trees {
    /// The tree that comes closest to `lowers` (uppermost first): how many of these have still to be applied to it.
    pub(super) fn take(&self, lowers: &[PathBuf]) -> Option<(Tree, usize)> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = idle.iter().enumerate().filter(|(_, (shown, _))| !shown.is_empty() && lowers.ends_with(shown));
        let (index, missing) =
            fitting.map(|(index, (shown, _))| (index, lowers.len() - shown.len())).min_by_key(|(_, missing)| *missing)?;
        Some((idle.remove(index).1, missing))
    }

    /// Keeps a tree that shows `lowers`.
    pub(super) fn keep(&self, lowers: Vec<PathBuf>, tree: Tree) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((lowers, tree));
        let longest = (idle.len() > IDLE).then(|| idle.remove(0));
        drop(idle);
        // Removing it takes its time: nobody has to wait for that.
        drop(longest);
    }
}
