//! Where a Step works: layers below, a root directory to change, and the change as an overlay's upper directory.
//!
//! | file | does |
//! |---|---|
//! | `mod` | [`Workspaces`] opens a [`Workspace`] or a [`Source`] in the way that the rung of the sandbox allows |
//! | `copied` | without mounts: a copy of the layers, scanned before and after |
//! | `trees` | such copies, left by one Step for the next |
//! | `apply`, `entry` | a snapshot laid over a directory, entry by entry |
//! | `scan`, `names` | what is different, and whether files have names elsewhere |
//! | `collect` | differences -> upper directory |
//! | `merged_tree` | layers as one tree to read from, without a mount |

mod apply;
mod collect;
mod copied;
mod entry;
mod merged_tree;
mod names;
mod scan;
#[cfg(test)]
mod tests;
mod trees;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use self::copied::Copied;
use self::merged_tree::MergedTree;
use self::trees::{Left, Trees};
use super::engine::{make_dir, set_mode};
use super::error::Error;
use super::sandbox::{Overlay, Rung};
use crate::source::{RootTree, Tree as SourceTree};
use crate::store::{Store, TempDir};

/// Opens workspaces, and keeps what one Step leaves for the next.
#[derive(Debug, Default)]
pub struct Workspaces {
    trees: Trees,
}

/// A root file system that a Step may change.
pub enum Workspace {
    /// An overlay, whose upper directory is the change.
    Mounted { overlay: Overlay, upper: PathBuf },
    /// A copy (rung 3).
    Copied(Box<Copied>),
}

/// A root file system to read from.
pub enum Source {
    Mounted {
        tree: RootTree,
        #[allow(dead_code, reason = "mounted for as long as it lives")]
        overlay: Overlay,
    },
    Merged(MergedTree),
}

/// What a Step has made of its workspace.
pub struct Change {
    /// Whiteouts and opaque marks as overlayfs makes them.
    pub upper: PathBuf,
    /// What [`Workspaces::keep`] wants.
    left: Option<Left>,
}

impl Workspaces {
    /// A workspace over `lowers`, uppermost first, whose change will lie below `work`.
    pub fn open(&self, rung: Rung, store: &Store, lowers: Vec<PathBuf>, work: &TempDir) -> Result<Workspace, Error> {
        let [upper, scratch] = ["fs", "work"].map(|name| work.path().join(name));
        make_dir(&upper)?;
        // The root of an image is 0755, whatever the umask.
        set_mode(&upper, 0o755)?;
        if rung == Rung::Chroot {
            return Ok(Workspace::Copied(Box::new(Copied::open(store, &self.trees, lowers, upper)?)));
        }
        make_dir(&scratch)?;
        // The overlay covers the directory that it works in: nobody else has to see that.
        let overlay = Overlay::mount(&lowers, Some(&upper), Some(&scratch), &scratch)?;
        Ok(Workspace::Mounted { overlay, upper })
    }

    /// Keeps what a Step has left for those that go on from it, now that its change is the snapshot at `snapshot`.
    pub fn keep(&self, left: Change, snapshot: PathBuf) -> Result<(), Error> {
        if let Some(Left { tree, lowers }) = left.left {
            apply::date_like(&snapshot, &tree.root)?;
            self.trees.keep(stacked(snapshot, lowers), tree);
        }
        Ok(())
    }
}

impl Workspace {
    pub fn path(&self) -> &Path {
        match self {
            Self::Mounted { overlay, .. } => overlay.path(),
            Self::Copied(copied) => copied.path(),
        }
    }

    /// Says that what happened to these paths (relative to the root) is no change.
    pub fn untouched(&mut self, paths: &[PathBuf]) {
        if let Self::Copied(copied) = self {
            copied.untouched(paths);
        }
    }

    /// Says that all processes of a RUN have ended: what they have handed to others changes nothing any more. A copy needs no more than
    /// that: no other RUN has run meanwhile to which it could have been handed (see `sandbox::apart`).
    pub fn seal(&self) -> Result<(), Error> {
        match self {
            Self::Mounted { overlay, .. } => Ok(overlay.seal()?),
            Self::Copied(_) => Ok(()),
        }
    }

    /// Ends the work. `kept`: whether another Step will go on from here.
    pub fn finish(self, kept: bool) -> Result<Change, Error> {
        match self {
            Self::Mounted { overlay, upper } => {
                drop(overlay);
                Ok(Change { upper, left: None })
            }
            Self::Copied(copied) => copied.finish(kept).map(|(upper, left)| Change { upper, left }),
        }
    }
}

impl Source {
    /// Opens `lowers`, uppermost first; a mount goes to `target`, which must not exist yet.
    pub fn open(rung: Rung, lowers: Vec<PathBuf>, target: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Io { action: "open", path: target.to_owned(), source };
        if rung == Rung::Chroot {
            return MergedTree::open(lowers).map(Self::Merged).map_err(failed);
        }
        make_dir(target)?;
        let overlay = Overlay::mount(&lowers, None, None, target)?;
        Ok(Self::Mounted { tree: RootTree::open(overlay.path()).map_err(failed)?, overlay })
    }

    pub fn tree(&self) -> &dyn SourceTree {
        match self {
            Self::Mounted { tree, .. } => tree,
            Self::Merged(tree) => tree,
        }
    }
}

/// A stack of snapshots, uppermost first. overlayfs refuses a directory that stands twice: a layer's topmost place decides all that it
/// touches.
pub fn stacked(top: PathBuf, mut lowers: Vec<PathBuf>) -> Vec<PathBuf> {
    lowers.retain(|lower| *lower != top);
    lowers.insert(0, top);
    lowers
}

/// A path of an image, which is made of bytes, below a directory.
fn below(directory: &Path, path: &[u8]) -> PathBuf {
    directory.join(OsStr::from_bytes(path))
}
