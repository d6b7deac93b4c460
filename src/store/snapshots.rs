//! Snapshots: layers unpacked into directories that serve as overlay lowers, and the directories of RUN cache mounts.

use std::fs;
use std::path::PathBuf;

use super::{Error, Store, TempDir, at};
use crate::oci::Digest;

/// How ids inside a snapshot map to ids on disk. Snapshots of one mapping are of no use under another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdMapping {
    /// Ids as they are: real root.
    Root,
    /// Ids of a user namespace with the user's subordinate ranges.
    UserNamespace,
    /// One id for all: owners are recorded in the xattr `user.brik.owner`.
    SingleUid,
}

impl IdMapping {
    fn dir(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::UserNamespace => "userns",
            Self::SingleUid => "single",
        }
    }
}

impl Store {
    fn snapshot_path(&self, ids: IdMapping, id: &Digest) -> PathBuf {
        self.root.join("snapshots").join(ids.dir()).join(id.hex())
    }

    /// The directory of a snapshot that is here.
    pub fn snapshot(&self, ids: IdMapping, id: &Digest) -> Option<PathBuf> {
        let fs = self.snapshot_path(ids, id).join("fs");
        fs.is_dir().then_some(fs)
    }

    /// Makes `work`, a temporary directory whose subdirectory `fs` is complete, the snapshot `id`: the directory of the snapshot.
    pub fn commit_snapshot(&self, ids: IdMapping, id: &Digest, work: TempDir) -> Result<PathBuf, Error> {
        let target = self.snapshot_path(ids, id);
        let parent = self.root.join("snapshots").join(ids.dir());
        fs::create_dir_all(&parent).map_err(at("create", &parent))?;
        match fs::rename(work.path(), &target) {
            Ok(()) => {}
            // Another Step or another brik was first; the content is the same.
            Err(_) if target.join("fs").is_dir() => {}
            Err(e) => return Err(at("write", &target)(e)),
        }
        Ok(target.join("fs"))
    }

    /// The directory behind a RUN cache mount. `id` is a digest over namespace, id and owner.
    pub fn cache_mount(&self, ids: IdMapping, id: &Digest) -> PathBuf {
        self.root.join("mounts").join(ids.dir()).join(id.hex())
    }
}
