//! Snapshots: layers unpacked into directories that serve as overlay lowers.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, Store, at};
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
    /// None: files that were fetched, which belong to whoever fetched them. Their owners mean nothing.
    Fetched,
}

impl IdMapping {
    pub(super) const ALL: [Self; 3] = [Self::Root, Self::UserNamespace, Self::SingleUid];

    pub(super) fn dir(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::UserNamespace => "userns",
            Self::SingleUid => "single",
            Self::Fetched => "fetched",
        }
    }
}

impl Store {
    fn snapshot_path(&self, ids: IdMapping, id: &Digest) -> PathBuf {
        self.root.join("snapshots").join(ids.dir()).join(id.hex())
    }

    /// The directory of a snapshot that is here. One of an earlier boot is not: nobody syncs all its files, so that they may be empty
    /// if power was lost. Its blob is durable, and it is unpacked again.
    pub fn snapshot(&self, ids: IdMapping, id: &Digest) -> Option<PathBuf> {
        let place = self.snapshot_path(ids, id);
        let made = fs::read_to_string(place.join("boot")).ok()?;
        (made == self.boot).then(|| place.join("fs"))
    }

    /// Makes `tree`, a complete directory in a temporary one, the snapshot `id`: the directory of the snapshot.
    pub fn commit_snapshot(&self, ids: IdMapping, id: &Digest, tree: &Path) -> Result<PathBuf, Error> {
        let place = self.snapshot_path(ids, id);
        let _flight = self.single_flight(&Digest::of(place.as_os_str().as_encoded_bytes()))?;
        // Another Step or another brik was first; the content is the same.
        if let Some(known) = self.snapshot(ids, id) {
            return Ok(known);
        }
        let [fresh, stale] = [self.temp_dir()?, self.temp_dir()?];
        let write = || {
            fs::write(fresh.path().join("boot"), &self.boot)?;
            fs::rename(tree, fresh.path().join("fs"))?;
            fs::create_dir_all(place.parent().unwrap_or(&self.root))?;
            if place.exists() {
                fs::rename(&place, stale.path().join("snapshot"))?;
            }
            fs::rename(fresh.path(), &place)
        };
        write().map_err(at("write", &place))?;
        Ok(place.join("fs"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(store: &Store, content: &str) -> PathBuf {
        let work = store.temp_dir().unwrap();
        let tree = work.path().join("upper");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), content).unwrap();
        fs::write(work.path().join("left over"), "").unwrap();
        store.commit_snapshot(IdMapping::Root, &Digest::of(b"id"), &tree).unwrap()
    }

    #[test]
    fn the_first_of_two_stays_and_nothing_is_left_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.snapshot(IdMapping::Root, &Digest::of(b"id")), None);
        let first = commit(&store, "first");
        assert_eq!(store.snapshot(IdMapping::Root, &Digest::of(b"id")), Some(first.clone()));
        assert_eq!(store.snapshot(IdMapping::SingleUid, &Digest::of(b"id")), None);
        assert_eq!(commit(&store, "second"), first);
        assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "first");
        assert_eq!(fs::read_dir(first.parent().unwrap()).unwrap().count(), 2, "fs and boot");
        let left = fs::read_dir(store.root().join("tmp")).unwrap().count();
        assert_eq!(left, 1, "the lease");
    }

    #[test]
    fn a_snapshot_of_an_earlier_boot_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let place = commit(&store, "torn");
        store.boot = "next".to_owned();
        assert_eq!(store.snapshot(IdMapping::Root, &Digest::of(b"id")), None);
        assert_eq!(commit(&store, "whole"), place);
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "whole");
    }
}
