//! What the store takes on disk, and how it is made smaller: least recently used records go first, then what nothing names.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::temp::remove_tree;
use super::{Error, RecordKind, Store, at};
use crate::oci::Digest;

/// Bytes on disk (allocated blocks), and how many there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    pub records: u64,
    pub blobs: u64,
    pub blob_bytes: u64,
    pub snapshots: u64,
    pub snapshot_bytes: u64,
    pub mounts: u64,
    pub mount_bytes: u64,
}

impl Usage {
    pub fn total_bytes(&self) -> u64 {
        self.blob_bytes + self.snapshot_bytes + self.mount_bytes
    }
}

/// What may stay. Both limits unset: everything goes.
#[derive(Debug, Clone, Copy, Default)]
pub struct PruneBudget {
    /// Bytes that blobs and snapshots may take together.
    pub keep_bytes: Option<u64>,
    /// Records used within this time stay.
    pub keep_used_within: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    pub records: u64,
    pub bytes: u64,
}

struct UsedRecord {
    path: std::path::PathBuf,
    used: SystemTime,
    names: Vec<Digest>,
}

impl Store {
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for kind in RecordKind::ALL {
            usage.records += count(&self.record_dir(kind));
        }
        usage.blobs = count(&self.root.join("blobs/sha256"));
        usage.blob_bytes = disk_bytes(&self.root.join("blobs"));
        for ids in fs::read_dir(self.root.join("snapshots")).into_iter().flatten().flatten() {
            usage.snapshots += count(&ids.path());
        }
        usage.snapshot_bytes = disk_bytes(&self.root.join("snapshots"));
        for ids in fs::read_dir(self.root.join("mounts")).into_iter().flatten().flatten() {
            usage.mounts += count(&ids.path());
        }
        usage.mount_bytes = disk_bytes(&self.root.join("mounts"));
        usage
    }

    /// Removes least recently used records until the budget holds, then every blob and snapshot that no record names.
    /// Fails with [`Error::Busy`] while another brik uses the store.
    pub fn prune(&self, budget: &PruneBudget) -> Result<Pruned, Error> {
        rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| Error::Busy { path: self.root.clone() })?;
        let pruned = self.prune_locked(budget);
        rustix::fs::flock(&self.lock, FlockOperation::LockShared).map_err(|e| at("lock", &self.root)(e.into()))?;
        pruned
    }

    fn prune_locked(&self, budget: &PruneBudget) -> Result<Pruned, Error> {
        self.reclaim();
        let before = self.usage();
        let mut records = self.used_records();
        records.sort_by_key(|record| std::cmp::Reverse(record.used));
        let keep_everything_else = budget.keep_bytes.is_none() && budget.keep_used_within.is_some();
        let now = SystemTime::now();
        let (mut kept, mut bytes, mut removed) = (HashSet::new(), 0u64, 0u64);
        for record in &records {
            let young = budget.keep_used_within.is_some_and(|age| now.duration_since(record.used).unwrap_or_default() <= age);
            let added: u64 = record.names.iter().filter(|d| !kept.contains(*d)).map(|d| self.footprint(d)).sum();
            let fits = budget.keep_bytes.is_some_and(|limit| bytes + added <= limit);
            let stays = match (budget.keep_bytes, budget.keep_used_within) {
                (Some(_), Some(_)) => young && fits,
                (Some(_), None) => fits,
                _ => keep_everything_else && young,
            };
            if stays {
                bytes += added;
                kept.extend(record.names.iter().copied());
            } else {
                fs::remove_file(&record.path).map_err(at("remove", &record.path))?;
                removed += 1;
            }
        }
        self.sweep(&kept);
        if budget.keep_bytes.is_none() && budget.keep_used_within.is_none() {
            for dir in ["mounts", "stat", "flight"] {
                for entry in fs::read_dir(self.root.join(dir)).into_iter().flatten().flatten() {
                    remove_tree(&entry.path());
                }
            }
        }
        let after = self.usage();
        Ok(Pruned { records: removed, bytes: before.total_bytes().saturating_sub(after.total_bytes()) })
    }

    fn used_records(&self) -> Vec<UsedRecord> {
        let mut records = Vec::new();
        for kind in RecordKind::ALL {
            for entry in fs::read_dir(self.record_dir(kind)).into_iter().flatten().flatten() {
                let Ok(text) = fs::read(entry.path()) else { continue };
                let used = entry.metadata().and_then(|m| m.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                let mut names = digests_in(&text);
                // A manifest names its config and layers.
                for digest in names.clone() {
                    if self.blob_size(&digest).is_some_and(|size| size < 4 << 20) {
                        let text = fs::read(self.blob_path(&digest)).unwrap_or_default();
                        if text.first() == Some(&b'{') {
                            names.extend(digests_in(&text));
                        }
                    }
                }
                names.sort();
                names.dedup();
                records.push(UsedRecord { path: entry.path(), used, names });
            }
        }
        records
    }

    /// Bytes that a digest takes as blob and as snapshots.
    fn footprint(&self, digest: &Digest) -> u64 {
        let snapshots = fs::read_dir(self.root.join("snapshots")).into_iter().flatten().flatten();
        self.blob_size(digest).unwrap_or(0) + snapshots.map(|ids| disk_bytes(&ids.path().join(digest.hex()))).sum::<u64>()
    }

    fn sweep(&self, kept: &HashSet<Digest>) {
        let kept: HashSet<String> = kept.iter().map(Digest::hex).collect();
        let snapshots = fs::read_dir(self.root.join("snapshots")).into_iter().flatten().flatten().map(|ids| ids.path());
        for dir in std::iter::once(self.root.join("blobs/sha256")).chain(snapshots) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if !entry.file_name().to_str().is_some_and(|name| kept.contains(name)) {
                    remove_tree(&entry.path());
                }
            }
        }
    }
}

/// Every `sha256:<hex>` that a document names.
fn digests_in(text: &[u8]) -> Vec<Digest> {
    let text = String::from_utf8_lossy(text);
    text.match_indices("sha256:").filter_map(|(at, _)| text.get(at..at + 71)?.parse().ok()).collect()
}

fn count(dir: &Path) -> u64 {
    fs::read_dir(dir).map_or(0, |entries| entries.count() as u64)
}

fn disk_bytes(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let below = if meta.is_dir() { fs::read_dir(path).into_iter().flatten().flatten().map(|e| disk_bytes(&e.path())).sum() } else { 0 };
    meta.blocks() * 512 + below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::IdMapping;

    #[test]
    fn pruning_to_an_age_keeps_what_young_records_name() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let (layer, _) = store.put_blob(b"layer").unwrap();
        let (manifest, _) = store.put_blob(format!("{{\"layers\":[\"{layer}\"]}}").as_bytes()).unwrap();
        let (orphan, _) = store.put_blob(b"orphan").unwrap();
        store.put_record(RecordKind::Image, &Digest::of(b"k"), &manifest).unwrap();
        let work = store.temp_dir().unwrap();
        let tree = work.path().join("fs");
        fs::create_dir(&tree).unwrap();
        store.commit_snapshot(IdMapping::Root, &orphan, &tree).unwrap();
        drop(work);

        let hour = PruneBudget { keep_used_within: Some(Duration::from_secs(3600)), ..Default::default() };
        assert_eq!(store.prune(&hour).unwrap().records, 0);
        assert!(store.blob_size(&layer).is_some() && store.blob_size(&manifest).is_some());
        assert!(store.blob_size(&orphan).is_none() && store.snapshot(IdMapping::Root, &orphan).is_none());

        assert_eq!(store.prune(&PruneBudget::default()).unwrap().records, 1);
        assert_eq!(store.usage().blobs, 0);
    }

    #[test]
    fn a_store_in_use_is_not_pruned() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _other) = (Store::open(dir.path()).unwrap(), Store::open(dir.path()).unwrap());
        assert!(matches!(store.prune(&PruneBudget::default()), Err(Error::Busy { .. })));
    }
}
