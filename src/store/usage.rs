//! What the store takes on disk, by kind.

use std::collections::BTreeMap;

use super::entries::Holding;
use super::{RecordKind, Store};

/// How many there are, and the bytes that they take on disk (allocated blocks).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Share {
    pub count: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// By kind.
    pub records: BTreeMap<&'static str, Share>,
    pub blobs: Share,
    pub snapshots: Share,
    pub mounts: Share,
    pub stat: Share,
    /// Work in progress, or left by briks that were killed until the next build reclaims it.
    pub tmp: Share,
}

impl Usage {
    pub fn total(&self) -> Share {
        let parts = [self.blobs, self.snapshots, self.mounts, self.stat, self.tmp];
        self.records
            .values()
            .copied()
            .chain(parts)
            .fold(Share::default(), |sum, part| Share { count: sum.count + part.count, bytes: sum.bytes + part.bytes })
    }
}

/// Bytes. With less than this, what was to be written has probably had no room.
const NEXT_TO_NOTHING: u64 = 1 << 20;

impl Store {
    /// Whether next to nothing can be written to the store's file system any more.
    pub fn is_full(&self) -> bool {
        // ramfs counts nothing: 0 of 0.
        let full = |fs: rustix::fs::StatVfs| {
            (fs.f_blocks > 0 && fs.f_bavail * fs.f_frsize < NEXT_TO_NOTHING) || (fs.f_files > 0 && fs.f_favail == 0)
        };
        rustix::fs::statvfs(&self.root).is_ok_and(full)
    }

    pub fn usage(&self) -> Usage {
        let records = |kind: RecordKind| (kind.name(), share(&self.others_held(&format!("records/{}", kind.name()))));
        let mut tmp = self.others_held("tmp");
        tmp.retain(|entry| !entry.name.ends_with(".lease"));
        Usage {
            records: RecordKind::ALL.into_iter().map(records).filter(|(_, share)| share.count > 0).collect(),
            blobs: share(&self.blobs_held()),
            snapshots: share(&self.snapshots_held()),
            mounts: share(&self.mounts_held()),
            stat: share(&self.others_held("stat")),
            tmp: share(&tmp),
        }
    }
}

fn share(held: &[Holding]) -> Share {
    let filled = held.iter().filter(|holding| holding.filled);
    Share { count: filled.clone().count() as u64, bytes: filled.map(|holding| holding.bytes).sum() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::oci::Digest;

    #[test]
    fn an_empty_store_takes_nothing_and_empty_places_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        fs::create_dir_all(dir.path().join("snapshots/root").join(Digest::of(b"x").hex())).unwrap();
        assert_eq!(store.usage(), Usage::default());
        store.put_blob(&[1; 5000]).unwrap();
        store.put_record(RecordKind::Step, &Digest::of(b"k"), &1).unwrap();
        let usage = store.usage();
        assert_eq!((usage.blobs.count, usage.records["step"].count, usage.total().count), (1, 1, 2));
        assert!(usage.blobs.bytes >= 5000, "{usage:?}");
    }

    #[test]
    fn a_file_with_two_names_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mount = dir.path().join("mounts/root/cache");
        fs::create_dir_all(&mount).unwrap();
        fs::write(mount.join("a"), [1; 100_000]).unwrap();
        let before = store.usage().mounts;
        fs::hard_link(mount.join("a"), mount.join("b")).unwrap();
        assert_eq!((store.usage().mounts, before.count), (before, 1));
    }
}
