//! How the store is made smaller: least recently used records go first, then what nothing names any more.
//!
//! Other briks may use the store meanwhile, and neither they nor this waits. What they use is safe for two reasons:
//!
//! - Every use renews the mtime of what is used (a record, the place of a snapshot, a blob that is found instead of made), and every brik
//!   has a lease that is older than its first use. Whatever was used since the oldest lease began stays.
//! - Whatever was used after it was looked at here stays, too: it is moved away, looked at again, and moved back. A use that finds nothing
//!   to renew is none: it counts as absent.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::disk::Disk;
use super::entries::{Entry, Holding, used};
use super::{Error, Store, TempDir, at};
use crate::oci::Digest;

/// A clock that is set back by less than this while briks work makes no difference.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// What may stay. Both limits unset: nothing but what is in use.
#[derive(Debug, Clone, Copy, Default)]
pub struct PruneBudget {
    /// Bytes on disk that blobs and snapshots may take together.
    pub keep_bytes: Option<u64>,
    /// Records used within this time stay, as far as they fit.
    pub keep_used_within: Option<Duration>,
}

impl PruneBudget {
    fn keeps_nothing(&self) -> bool {
        self.keep_bytes.is_none() && self.keep_used_within.is_none()
    }
}

/// What went, or would go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Pruned {
    pub records: u64,
    pub blobs: u64,
    pub snapshots: u64,
    pub mounts: u64,
    /// On disk.
    pub bytes: u64,
    /// When the oldest of the other briks that use the store began: what was used since then stays.
    #[serde(skip)]
    pub in_use_since: Option<SystemTime>,
}

/// A place in `tmp/` for what goes.
struct Away<'a> {
    disk: &'a dyn Disk,
    directory: TempDir,
    count: u64,
}

impl Store {
    /// Removes what the budget does not keep, and what no record names. `dry_run`: only tells.
    pub fn prune(&self, budget: &PruneBudget, dry_run: bool) -> Result<Pruned, Error> {
        if !dry_run {
            self.reclaim();
        }
        let in_use_since = self.temp.oldest_living();
        let protects = |used: SystemTime| in_use_since.is_some_and(|since| used.checked_add(CLOCK_SLACK).is_none_or(|used| used >= since));
        let mut entries = self.entries();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        let names: Vec<Vec<Digest>> = entries.iter().map(|entry| self.named_by(entry)).collect();
        let (blobs, snapshots) = (self.blobs_held(), self.snapshots_held());
        let mut sizes: HashMap<&str, u64> = HashMap::new();
        blobs.iter().chain(&snapshots).for_each(|holding| *sizes.entry(&holding.name).or_default() += holding.bytes);
        let stay = which_stay(&entries, &names, &sizes, budget, &protects);

        let mut pruned = Pruned { in_use_since, ..Pruned::default() };
        let mut away = if dry_run { None } else { Some(Away { disk: self.disk(), directory: self.temp_dir()?, count: 0 }) };
        let mut goes = |path: &Path, seen: SystemTime| away.as_mut().map_or(Ok(true), |away| away.take(path, seen));
        let mut kept: HashSet<String> = HashSet::new();
        for ((entry, names), stays) in entries.iter().zip(&names).zip(stay) {
            if stays || !goes(&entry.path, entry.used)? {
                kept.extend(names.iter().map(Digest::hex));
            } else {
                pruned.records += 1;
            }
        }
        for (holdings, count) in [(&blobs, &mut pruned.blobs), (&snapshots, &mut pruned.snapshots)] {
            for holding in holdings.iter().filter(|holding| !kept.contains(&holding.name) && !protects(holding.used)) {
                if goes(&holding.path, holding.used)? {
                    *count += u64::from(holding.filled);
                    pruned.bytes += holding.bytes;
                }
            }
        }
        if in_use_since.is_none() {
            let rest: Vec<Holding> = self.rest(budget);
            let alone = dry_run || rustix::fs::flock(&self.lock, FlockOperation::NonBlockingLockExclusive).is_ok();
            for holding in rest.iter().filter(|_| alone) {
                if goes(&holding.path, holding.used)? {
                    pruned.mounts += u64::from(holding.path.starts_with(self.root.join("mounts")));
                    pruned.bytes += holding.bytes;
                }
            }
            if !dry_run {
                // What was moved away is removed after this.
                rustix::fs::flock(&self.lock, FlockOperation::LockShared).map_err(|e| at("lock", &self.root)(e.into()))?;
            }
        }
        Ok(pruned)
    }

    /// What may go only while nobody else uses the store: the locks of flights; caches of stats and RUNs, where nothing is to be kept.
    fn rest(&self, budget: &PruneBudget) -> Vec<Holding> {
        let mut rest = self.others_held("flight");
        if budget.keeps_nothing() {
            rest.extend(self.mounts_held());
            rest.extend(self.others_held("stat"));
        }
        rest
    }
}

/// Which of the entries, the most recently used first, are kept.
fn which_stay(
    entries: &[Entry],
    names: &[Vec<Digest>],
    sizes: &HashMap<&str, u64>,
    budget: &PruneBudget,
    protects: &dyn Fn(SystemTime) -> bool,
) -> Vec<bool> {
    let now = SystemTime::now();
    let (mut counted, mut bytes, mut full) = (HashSet::new(), 0u64, false);
    let stays = |(entry, names): (&Entry, &Vec<Digest>)| {
        let young = budget.keep_used_within.is_none_or(|age| now.duration_since(entry.used).unwrap_or_default() <= age);
        let added: u64 = names.iter().filter(|d| !counted.contains(*d)).filter_map(|d| sizes.get(d.hex().as_str())).sum();
        // Once one has no room, all that were used before it go.
        full |= budget.keep_bytes.is_some_and(|limit| bytes.saturating_add(added) > limit);
        let stays = protects(entry.used) || (!budget.keeps_nothing() && young && !full);
        if stays {
            bytes = bytes.saturating_add(added);
            counted.extend(names.iter().copied());
        }
        stays
    };
    entries.iter().zip(names).map(stays).collect()
}

impl Away<'_> {
    /// Moves something away that was last used when it was `seen`. If it was used since, it stays: `false`.
    fn take(&mut self, path: &Path, seen: SystemTime) -> Result<bool, Error> {
        let unused = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| used(&metadata) == seen);
        if !unused(path) {
            return Ok(false);
        }
        let place: PathBuf = self.directory.path().join(self.count.to_string());
        self.count += 1;
        match self.disk.rename(path, &place) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            renamed => renamed.map_err(at("remove", path))?,
        }
        if !unused(&place) {
            // Where it was made anew meanwhile, the new one is as good.
            let _ = self.disk.rename_new(&place, path);
            return Ok(false);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Flight, IdMapping, RecordKind};

    const ALL: PruneBudget = PruneBudget { keep_bytes: None, keep_used_within: None };
    const HOUR: Duration = Duration::from_secs(3600);

    struct World {
        _directory: tempfile::TempDir,
        store: Store,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            Self { _directory: directory, store }
        }

        /// A layer of 100 000 bytes and the record that names it, last used `age` ago.
        fn layer(&self, name: &str, age: Duration) -> Digest {
            let mut bytes = vec![0; 100_000];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            let (layer, _) = self.store.put_blob(&bytes).unwrap();
            self.store.put_record(RecordKind::Step, &Digest::of(name.as_bytes()), &layer).unwrap();
            for path in [self.record(name), self.store.blob_path(&layer)] {
                Self::age(&path, age);
            }
            layer
        }

        fn record(&self, name: &str) -> PathBuf {
            self.store.record_dir(RecordKind::Step).join(Digest::of(name.as_bytes()).hex())
        }

        fn age(path: &Path, age: Duration) {
            fs::File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }

        fn snapshot(&self, id: &Digest) -> PathBuf {
            let work = self.store.temp_dir().unwrap();
            fs::create_dir(work.path().join("fs")).unwrap();
            fs::write(work.path().join("fs/file"), "content").unwrap();
            self.store.commit_snapshot(IdMapping::Root, id, &work.path().join("fs")).unwrap()
        }
    }

    #[test]
    fn pruning_to_an_age_keeps_what_young_records_name() {
        let world = World::new();
        let store = &world.store;
        let (layer, _) = store.put_blob(b"layer").unwrap();
        let (manifest, _) = store.put_blob(format!("{{\"layers\":[\"{layer}\"]}}").as_bytes()).unwrap();
        let (orphan, _) = store.put_blob(b"orphan").unwrap();
        store.put_record(RecordKind::Image, &Digest::of(b"k"), &manifest).unwrap();
        world.snapshot(&orphan);
        world.layer("old", 2 * HOUR);

        let hour = PruneBudget { keep_used_within: Some(HOUR), ..ALL };
        let told = store.prune(&hour, true).unwrap();
        assert_eq!((told.records, told.blobs, told.snapshots), (1, 2, 1));
        assert!(store.blob_size(&orphan).is_some(), "a dry run removes nothing");
        assert_eq!(store.prune(&hour, false).unwrap(), told);
        assert!(store.blob_size(&layer).is_some() && store.blob_size(&manifest).is_some());
        assert!(store.blob_size(&orphan).is_none() && store.snapshot(IdMapping::Root, &orphan).is_none());

        assert_eq!(store.prune(&ALL, false).unwrap().records, 1);
        assert_eq!(store.usage().blobs.count, 0);
    }

    #[test]
    fn pruning_to_a_size_takes_the_least_recently_used_until_it_fits() {
        for (keep_bytes, left) in [(1_000_000, "abc"), (230_000, "ab"), (120_000, "a"), (90_000, "")] {
            let world = World::new();
            for (name, hours) in [("b", 2), ("a", 1), ("c", 3)] {
                world.layer(name, hours * HOUR);
            }
            let pruned = world.store.prune(&PruneBudget { keep_bytes: Some(keep_bytes), ..ALL }, false).unwrap();
            let found: String = ["a", "b", "c"].into_iter().filter(|name| world.record(name).exists()).collect();
            assert_eq!((found.as_str(), pruned.records), (left, 3 - left.len() as u64), "{keep_bytes}");
            assert_eq!(world.store.usage().blobs.count, left.len() as u64);
        }
    }

    #[test]
    fn both_limits_hold_together() {
        let world = World::new();
        for (name, hours) in [("a", 1), ("b", 2), ("c", 30)] {
            world.layer(name, hours * HOUR);
        }
        let budget = PruneBudget { keep_bytes: Some(120_000), keep_used_within: Some(24 * HOUR) };
        assert_eq!(world.store.prune(&budget, false).unwrap().records, 2);
        assert!(world.record("a").exists());
    }

    #[test]
    fn what_another_brik_has_used_stays_and_what_is_older_goes() {
        let world = World::new();
        let other = Store::open(world.store.root()).unwrap();
        let [used, unused] = ["used", "unused"].map(|name| world.layer(name, 2 * HOUR));
        let over = Digest::of(b"a snapshot that no record names");
        World::age(world.snapshot(&over).parent().unwrap(), 2 * HOUR);
        assert_eq!(other.record::<Digest>(RecordKind::Step, &Digest::of(b"used")), Some(used));
        assert!(other.snapshot(IdMapping::Root, &over).is_some());
        fs::create_dir_all(world.store.cache_mount(IdMapping::Root, &over)).unwrap();
        let flight = other.single_flight(Flight::Snapshot, &over).unwrap();

        let pruned = world.store.prune(&ALL, false).unwrap();
        assert_eq!((pruned.records, pruned.in_use_since.is_some()), (1, true));
        assert!(other.blob_size(&used).is_some() && other.blob_size(&unused).is_none());
        assert!(other.snapshot(IdMapping::Root, &over).is_some() && other.cache_mount(IdMapping::Root, &over).is_dir());
        assert_eq!(fs::read_dir(world.store.root().join("flight")).unwrap().count(), 1);

        drop((flight, other));
        let pruned = world.store.prune(&ALL, false).unwrap();
        assert_eq!((pruned.records, pruned.mounts, pruned.in_use_since), (1, 1, None));
        assert_eq!(fs::read_dir(world.store.root().join("flight")).unwrap().count(), 0);
    }

    #[test]
    fn a_blob_that_is_found_instead_of_made_is_in_use() {
        let world = World::new();
        let other = Store::open(world.store.root()).unwrap();
        let layer = world.layer("same", 2 * HOUR);
        let bytes = fs::read(world.store.blob_path(&layer)).unwrap();
        assert_eq!(other.put_blob(&bytes).unwrap().0, layer);
        let pulled = world.layer("pulled", 2 * HOUR);
        assert!(other.take_up(&pulled, 100_000));
        assert_eq!(world.store.prune(&ALL, false).unwrap().records, 2);
        assert!(other.blob_size(&layer).is_some() && other.blob_size(&pulled).is_some(), "their records are yet to come");
    }

    #[test]
    fn what_was_used_after_it_was_looked_at_is_put_back() {
        let world = World::new();
        world.layer("a", 2 * HOUR);
        let mut away = Away { disk: world.store.disk(), directory: world.store.temp_dir().unwrap(), count: 0 };
        let record = world.record("a");
        let seen = fs::metadata(&record).unwrap().modified().unwrap();
        assert!(world.store.note_use(RecordKind::Step, &Digest::of(b"a")));
        assert!(!away.take(&record, seen).unwrap() && record.exists());
        let seen = fs::metadata(&record).unwrap().modified().unwrap();
        assert!(away.take(&record, seen).unwrap() && !record.exists());
        assert_eq!(world.store.record::<Digest>(RecordKind::Step, &Digest::of(b"a")), None);
    }

    #[test]
    fn stores_are_opened_while_one_is_pruned() {
        let world = World::new();
        world.layer("a", HOUR);
        std::thread::scope(|scope| {
            let openers = (0..4).map(|_| scope.spawn(|| (0..20).for_each(|_| drop(Store::open(world.store.root()).unwrap()))));
            let openers: Vec<_> = openers.collect();
            for _ in 0..10 {
                world.store.prune(&ALL, false).unwrap();
            }
            openers.into_iter().for_each(|opener| opener.join().unwrap());
        });
    }
}
