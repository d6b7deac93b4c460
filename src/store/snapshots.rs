//! Snapshots: layers unpacked into directories that serve as overlay lowers.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Error, NO_WAIT, Store, at, note_use};
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

/// The name under which layers are unpacked: another one after each boot (nobody syncs their files), and wherever something has passed
/// over the store that may not have kept owners, set-id bits and extended attributes: `chown -R`, a copy, an archive. `ranges` are those
/// that the owners of files are taken from: with others, a file has another owner.
pub(super) fn place(root: &Path, ranges: &str) -> Result<String, Error> {
    let path = root.join("here");
    let failed = |error| at("open", &path)(error);
    let here = File::options().create(true).truncate(false).write(true).mode(0o600).custom_flags(NO_WAIT).open(&path).map_err(failed)?;
    let here = here.metadata().map_err(failed)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let identity = format!("{} {} {} {} {} {ranges}", boot.trim(), here.dev(), here.ino(), here.ctime(), here.ctime_nsec());
    Ok(format!("place-{}", Digest::of(identity.as_bytes()).short()))
}

/// What subuid(5) and subgid(5) give, for this process and for its copy in a user namespace alike; nothing where ids are as they are.
pub(super) fn id_ranges() -> String {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    if whole && rustix::process::geteuid().is_root() {
        return String::new();
    }
    ["/etc/subuid", "/etc/subgid"].map(|file| fs::read_to_string(file).unwrap_or_default()).concat()
}

impl Store {
    fn snapshot_path(&self, ids: IdMapping, id: &Digest) -> PathBuf {
        self.root.join("snapshots").join(ids.dir()).join(id.hex())
    }

    /// The directory of a snapshot that is here. One of an earlier place is not: its blob is durable, and it is unpacked again. The
    /// mtime of its directory notes the use.
    pub fn snapshot(&self, ids: IdMapping, id: &Digest) -> Option<PathBuf> {
        let place = self.snapshot_path(ids, id);
        Some(place.join(&self.place)).filter(|tree| tree.is_dir() && note_use(&place))
    }

    /// Makes `tree`, a complete directory in a temporary one, the snapshot `id`: the directory of the snapshot.
    pub fn commit_snapshot(&self, ids: IdMapping, id: &Digest, tree: &Path) -> Result<PathBuf, Error> {
        let place = self.snapshot_path(ids, id);
        let snapshot = place.join(&self.place);
        let known = place.is_dir();
        self.disk().create_dir_all(&place).map_err(at("create", &place))?;
        match self.disk().rename(tree, &snapshot) {
            // Another Step or another brik was first; the content is the same.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                note_use(&place);
                return Ok(snapshot);
            }
            renamed => renamed.map_err(at("write", &snapshot))?,
        }
        if known {
            for stale in fs::read_dir(&place).into_iter().flatten().flatten().filter(|entry| *entry.file_name() != *self.place) {
                let gone = self.temp_dir()?;
                let _ = self.disk().rename(&stale.path(), &gone.path().join("snapshot"));
            }
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

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
        assert_eq!(fs::read_dir(first.parent().unwrap()).unwrap().count(), 1);
        drop(store);
        let left = fs::read_dir(dir.path().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_snapshot_of_an_earlier_boot_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let torn = commit(&store, "torn");
        store.place = "next".to_owned();
        assert_eq!(store.snapshot(IdMapping::Root, &Digest::of(b"id")), None);
        let place = commit(&store, "whole");
        assert!(!torn.exists());
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "whole");
    }

    #[test]
    fn other_ranges_of_ids_are_another_place() {
        let room = tempfile::tempdir().unwrap();
        let place = |ranges: &str| place(room.path(), ranges).unwrap();
        assert_eq!(place("ann:100000:65536\n"), place("ann:100000:65536\n"));
        assert_ne!(place("ann:100000:65536\n"), place("ann:200000:65536\n"));
    }

    #[test]
    fn a_snapshot_that_something_has_passed_over_is_made_again() {
        let room = tempfile::tempdir().unwrap();
        let (one, two) = (room.path().join("one"), room.path().join("two"));
        let id = Digest::of(b"id");
        let there = |root: &Path| Store::open(root).unwrap().snapshot(IdMapping::Root, &id).is_some();
        commit(&Store::open(&one).unwrap(), "content");
        assert!(there(&one));
        assert!(Command::new("cp").arg("-a").args([&one, &two]).status().unwrap().success());
        assert!(there(&one) && !there(&two));
        assert!(Command::new("chown").args(["-R", &rustix::process::getuid().to_string()]).arg(&one).status().unwrap().success());
        assert!(!there(&one));
    }
}
