//! Content hashes remembered across runs, so that an unchanged file costs one `stat`.
//!
//! A file is known by its [`Stamp`], not by its path. One that was touched within the clock's granularity of being read is not
//! remembered.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::content_hash::ContentHash;
use super::stamp::Stamp;
use super::stat_records::{Record, Records, write};

/// 44 MB on disk; the records of the longest unused files go first.
const MOST_RECORDS: usize = 500_000;

/// Work done since the cache was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub files_hashed: u64,
    /// Context files opened, to be hashed or copied.
    pub files_opened: u64,
}

/// Shared by every context of a run.
#[derive(Debug, Default)]
pub struct StatCache {
    path: Option<PathBuf>,
    records: Records,
    run: u32,
    learned: Mutex<HashMap<(u64, u64), (Stamp, ContentHash)>>,
    /// Which records were found in this run.
    used: Vec<AtomicBool>,
    files_hashed: AtomicU64,
    files_opened: AtomicU64,
}

impl StatCache {
    /// Remembers nothing beyond this run.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Reads the cache at `path`; a file that is missing or damaged counts as empty.
    pub fn load(path: &Path) -> Self {
        let records = Records::read(path);
        let run = records.latest_run().unwrap_or(0).saturating_add(1);
        let used = std::iter::repeat_with(AtomicBool::default).take(records.len()).collect();
        Self { path: Some(path.to_owned()), records, run, used, ..Self::default() }
    }

    pub fn counters(&self) -> Counters {
        Counters { files_hashed: self.files_hashed.load(Relaxed), files_opened: self.files_opened.load(Relaxed) }
    }

    pub(super) fn count_opened(&self) {
        self.files_opened.fetch_add(1, Relaxed);
    }

    /// A search for many files, best asked for those of one directory after one another.
    pub(super) fn search(&self) -> Search<'_> {
        Search { cache: self, at: 0 }
    }

    /// Notes what reading files told, each with the clock ([`now`](super::stamp::now)) from before it was read.
    pub(super) fn learn(&self, files: &[(Stamp, ContentHash, (i64, u32))]) {
        self.files_hashed.fetch_add(files.len() as u64, Relaxed);
        let kept = files.iter().filter(|(stamp, _, read_at)| !stamp.racy(*read_at));
        lock(&self.learned).extend(kept.map(|(stamp, content, _)| (stamp.key(), (*stamp, *content))));
    }

    /// Writes the cache if anything was learned, by way of a file `temporary` on the same file system. Of processes that save at the same time the last wins: the others' knowledge is
    /// lost, nothing else.
    pub fn save(&self, temporary: &Path) -> io::Result<()> {
        let learned = lock(&self.learned);
        let Some(path) = self.path.as_ref().filter(|_| !learned.is_empty()) else { return Ok(()) };
        let mut kept: Vec<Record> = Vec::with_capacity(self.records.len() + learned.len());
        let known = self.records.iter().zip(&self.used).filter(|(record, _)| !learned.contains_key(&record.stamp.key()));
        kept.extend(known.map(|(record, used)| Record { used: if used.load(Relaxed) { self.run } else { record.used }, ..record }));
        kept.extend(learned.values().map(|&(stamp, content)| Record { stamp, content, used: self.run }));
        if kept.len() > MOST_RECORDS {
            kept.sort_unstable_by_key(|record| Reverse(record.used));
            kept.truncate(MOST_RECORDS);
        }
        kept.sort_unstable_by_key(|record| record.stamp.key());
        write(path, &kept, temporary)
    }
}

/// What earlier runs, and this one through other contexts, learned of files.
pub(super) struct Search<'c> {
    cache: &'c StatCache,
    /// Where the last record was found.
    at: usize,
}

impl Search<'_> {
    pub fn find(&mut self, stamp: &Stamp) -> Option<ContentHash> {
        self.recorded(stamp).or_else(|| {
            let learned = lock(&self.cache.learned);
            learned.get(&stamp.key()).filter(|(seen, _)| seen == stamp).map(|(_, content)| *content)
        })
    }

    fn recorded(&mut self, stamp: &Stamp) -> Option<ContentHash> {
        self.at = self.cache.records.position(stamp.key(), self.at)?;
        let record = self.cache.records.get(self.at);
        if record.stamp != *stamp {
            return None;
        }
        self.cache.used[self.at].store(true, Relaxed);
        Some(record.content)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::stamp::now;
    use super::*;

    fn stamp(inode: u64) -> Stamp {
        Stamp { device: 1, inode, size: 3, mtime: (100, 5), ctime: (-100, 7), mode: 0o100644 }
    }

    fn content(text: &str) -> ContentHash {
        ContentHash::of(text.as_bytes())
    }

    fn find(cache: &StatCache, stamp: &Stamp) -> Option<ContentHash> {
        cache.search().find(stamp)
    }

    fn saved(path: &Path) -> StatCache {
        let cache = StatCache::load(path);
        cache.learn(&[5, 3, 9].map(|inode| (stamp(inode), content(&inode.to_string()), (1000, 0))));
        cache.save(&path.with_extension("new")).unwrap();
        StatCache::load(path)
    }

    #[test]
    fn what_was_learned_is_found_in_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let cache = saved(&directory.path().join("stat"));
        let mut search = cache.search();
        for (inode, expected) in [(5, Some(content("5"))), (4, None), (3, Some(content("3"))), (9, Some(content("9"))), (10, None)] {
            assert_eq!(search.find(&stamp(inode)), expected, "{inode}");
        }
    }

    #[test]
    fn what_is_learned_anew_replaces_what_was_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stat");
        let cache = saved(&path);
        let changed = Stamp { size: 4, ..stamp(5) };
        cache.learn(&[(changed, content("new"), (1000, 0))]);
        assert_eq!(find(&cache, &changed), Some(content("new")));
        cache.save(&path.with_extension("new")).unwrap();
        let cache = StatCache::load(&path);
        assert_eq!((find(&cache, &changed), find(&cache, &stamp(5))), (Some(content("new")), None));
        assert_eq!((find(&cache, &stamp(3)), cache.records.len()), (Some(content("3")), 3));
    }

    #[test]
    fn any_difference_of_the_stamp_is_a_miss() {
        let directory = tempfile::tempdir().unwrap();
        let cache = saved(&directory.path().join("stat"));
        for change in [
            |s: &mut Stamp| s.device += 1,
            |s: &mut Stamp| s.size += 1,
            |s: &mut Stamp| s.mtime.1 += 1,
            |s: &mut Stamp| s.ctime.0 += 1,
            |s: &mut Stamp| s.ctime.1 += 1,
            |s: &mut Stamp| s.mode ^= 1,
        ] {
            let mut changed = stamp(5);
            change(&mut changed);
            assert_eq!(find(&cache, &changed), None);
        }
    }

    #[test]
    fn a_file_that_may_still_change_unseen_is_not_remembered() {
        let cache = StatCache::in_memory();
        let fresh = Stamp { ctime: now(), ..stamp(1) };
        cache.learn(&[(fresh, content("x"), now())]);
        assert_eq!(find(&cache, &fresh), None);
        cache.learn(&[(stamp(1), content("x"), now())]);
        assert_eq!(find(&cache, &stamp(1)), Some(content("x")));
    }

    #[test]
    fn a_run_that_learned_nothing_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        StatCache::load(&directory.path().join("stat")).save(&directory.path().join("new")).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
