//! Digests remembered across runs, so that an unchanged file costs one `stat`.
//!
//! One flat file: a header (magic, number of records, crc32 of the records), then 88-byte little-endian records sorted by
//! (device, inode). A file is known by what `stat` tells of its inode, not by its path: whatever changes content also
//! changes `ctime`, which no program can set. As in git, a file that was touched within the clock's granularity of being
//! read ("racily clean") is not remembered. A file that is damaged or of another version counts as empty.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rustix::fs::Stat;
use rustix::time::{ClockId, clock_gettime};

use crate::oci::Digest;

const MAGIC: &[u8; 8] = b"brikst\x00\x02";
const HEADER: usize = 8 + 8 + 4;
const RECORD: usize = 88;
/// 44 MB on disk; the records of the longest unused files go first.
const MOST_RECORDS: usize = 500_000;

/// All that `stat` tells of whether a file is the one that was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    pub mode: u32,
}

/// Work done since the cache was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub digests_computed: u64,
    /// Context files opened, to be hashed or copied.
    pub files_opened: u64,
}

/// Shared by every context of a run.
#[derive(Debug, Default)]
pub struct StatCache {
    path: Option<PathBuf>,
    /// The records as they were on disk.
    records: Vec<u8>,
    run: u32,
    learned: Mutex<HashMap<(u64, u64), (Stamp, Digest)>>,
    /// Which records were found in this run; no lock, as every file of a walk passes here.
    used: Vec<AtomicBool>,
    digests_computed: AtomicU64,
    files_opened: AtomicU64,
}

impl StatCache {
    /// Remembers nothing beyond this run.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Reads the cache at `path`; a file that is missing or damaged counts as empty.
    pub fn load(path: &Path) -> Self {
        let records = fs::read(path).ok().and_then(checked).unwrap_or_default();
        let run = records.chunks_exact(RECORD).map(last_used).max().unwrap_or(0).saturating_add(1);
        let used = std::iter::repeat_with(AtomicBool::default).take(records.len() / RECORD).collect();
        Self { path: Some(path.to_owned()), records, run, used, ..Self::default() }
    }

    pub fn counters(&self) -> Counters {
        Counters { digests_computed: self.digests_computed.load(Relaxed), files_opened: self.files_opened.load(Relaxed) }
    }

    pub(super) fn count_opened(&self) {
        self.files_opened.fetch_add(1, Relaxed);
    }

    /// What an earlier run learned of the file.
    pub(super) fn find(&self, stamp: &Stamp) -> Option<Digest> {
        let at = self.position((stamp.device, stamp.inode))?;
        let (seen, known, _) = decode(self.record(at));
        if seen != *stamp {
            return None;
        }
        self.used[at].store(true, Relaxed);
        Some(known)
    }

    /// What this run learned of the file, through another context.
    pub(super) fn find_learned(&self, stamp: &Stamp) -> Option<Digest> {
        let learned = lock(&self.learned);
        let (seen, known) = learned.get(&(stamp.device, stamp.inode))?;
        (seen == stamp).then_some(*known)
    }

    /// Notes what reading the file told. `read_at` is the clock ([`now`]) from before it was read.
    pub(super) fn learn(&self, stamp: &Stamp, known: Digest, read_at: (i64, u32)) {
        self.digests_computed.fetch_add(1, Relaxed);
        if !racy(stamp, read_at) {
            lock(&self.learned).insert((stamp.device, stamp.inode), (*stamp, known));
        }
    }

    /// Writes the cache if anything was learned, by a temporary file and a rename. Of processes that save at the same time
    /// the last wins: the others' knowledge is lost, nothing else.
    pub fn save(&self) -> io::Result<()> {
        let learned = lock(&self.learned);
        let Some(path) = self.path.as_ref().filter(|_| !learned.is_empty()) else { return Ok(()) };
        let mut kept: HashMap<(u64, u64), [u8; RECORD]> = HashMap::new();
        for (record, used) in self.records.chunks_exact(RECORD).zip(&self.used) {
            let (stamp, known, last_used) = decode(record);
            let run = if used.load(Relaxed) { self.run } else { last_used };
            kept.insert((stamp.device, stamp.inode), encode(&stamp, &known, run));
        }
        for (key, (stamp, known)) in learned.iter() {
            kept.insert(*key, encode(stamp, known, self.run));
        }
        let mut records: Vec<_> = kept.into_iter().collect();
        if records.len() > MOST_RECORDS {
            records.sort_by_key(|(_, record)| std::cmp::Reverse(last_used(record)));
            records.truncate(MOST_RECORDS);
        }
        records.sort_unstable_by_key(|(key, _)| *key);
        let body: Vec<u8> = records.iter().flat_map(|(_, record)| record.iter().copied()).collect();
        write_atomically(path, &body)
    }

    fn record(&self, at: usize) -> &[u8] {
        &self.records[at * RECORD..][..RECORD]
    }

    fn position(&self, key: (u64, u64)) -> Option<usize> {
        let (mut low, mut high) = (0, self.records.len() / RECORD);
        while low < high {
            let middle = (low + high) / 2;
            let record = self.record(middle);
            match (u64_at(record, 0), u64_at(record, 8)).cmp(&key) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// The clock that the kernel stamps files by (seconds, nanoseconds).
pub(super) fn now() -> (i64, u32) {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, now.tv_nsec as u32)
}

impl From<&Stat> for Stamp {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
            mode: stat.st_mode as u32,
        }
    }
}

/// Whether the file could still change without its `ctime` telling: 20 ms is two ticks of the slowest kernel clock; a
/// file system that keeps whole seconds (ext3, FAT) needs more.
fn racy(stamp: &Stamp, read_at: (i64, u32)) -> bool {
    let nanoseconds = |(seconds, fraction): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
    let granularity = if stamp.ctime.1 == 0 { 2_000_000_000 } else { 20_000_000 };
    nanoseconds(stamp.ctime) + granularity > nanoseconds(read_at)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn checked(file: Vec<u8>) -> Option<Vec<u8>> {
    let header = file.get(..HEADER)?;
    let records = &file[HEADER..];
    let whole = header.starts_with(MAGIC)
        && usize::try_from(u64_at(header, 8)).ok()?.checked_mul(RECORD)? == records.len()
        && u32_at(header, 16) == libdeflater::crc32(records);
    whole.then(|| records.to_vec())
}

fn write_atomically(path: &Path, records: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = fs::File::create(&temporary).and_then(|mut file| {
        file.write_all(MAGIC)?;
        file.write_all(&((records.len() / RECORD) as u64).to_le_bytes())?;
        file.write_all(&libdeflater::crc32(records).to_le_bytes())?;
        file.write_all(records)
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

fn encode(stamp: &Stamp, known: &Digest, used: u32) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&stamp.device.to_le_bytes());
    put(&stamp.inode.to_le_bytes());
    put(&stamp.size.to_le_bytes());
    put(&stamp.mtime.0.to_le_bytes());
    put(&stamp.ctime.0.to_le_bytes());
    put(&stamp.mtime.1.to_le_bytes());
    put(&stamp.ctime.1.to_le_bytes());
    put(&stamp.mode.to_le_bytes());
    put(&used.to_le_bytes());
    put(known.as_bytes());
    out
}

fn decode(record: &[u8]) -> (Stamp, Digest, u32) {
    let stamp = Stamp {
        device: u64_at(record, 0),
        inode: u64_at(record, 8),
        size: u64_at(record, 16),
        mtime: (u64_at(record, 24) as i64, u32_at(record, 40)),
        ctime: (u64_at(record, 32) as i64, u32_at(record, 44)),
        mode: u32_at(record, 48),
    };
    let mut digest = [0; 32];
    digest.copy_from_slice(&record[56..RECORD]);
    (stamp, Digest::from_bytes(digest), last_used(record))
}

fn last_used(record: &[u8]) -> u32 {
    u32_at(record, 52)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64) -> Stamp {
        Stamp { device: 1, inode, size: 3, mtime: (100, 5), ctime: (-100, 7), mode: 0o100644 }
    }

    fn known(text: &str) -> Digest {
        Digest::of(text.as_bytes())
    }

    fn saved(path: &Path) -> StatCache {
        let cache = StatCache::load(path);
        for inode in [5, 3, 9] {
            cache.learn(&stamp(inode), known(&inode.to_string().repeat(inode as usize % 4)), (1000, 0));
        }
        cache.save().unwrap();
        StatCache::load(path)
    }

    #[test]
    fn what_was_learned_is_found_in_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let cache = saved(&directory.path().join("stat"));
        assert_eq!(cache.find(&stamp(5)), Some(known("5")));
        assert_eq!(cache.find(&stamp(3)), Some(known("333")));
        assert_eq!(cache.find(&stamp(4)), None);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
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
            assert_eq!(cache.find(&changed), None);
        }
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stat");
        saved(&path);
        let good = fs::read(&path).unwrap();
        for at in [0, 9, 17, HEADER, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, bad).unwrap();
            assert_eq!(StatCache::load(&path).find(&stamp(5)), None, "byte {at}");
        }
        for length in [0, 7, HEADER, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert_eq!(StatCache::load(&path).find(&stamp(5)), None, "{length} bytes");
        }
    }

    #[test]
    fn a_file_that_may_still_change_unseen_is_not_remembered() {
        for (ctime, read_at, expected) in [
            ((10, 500), (10, 500), true),
            ((10, 500), (10, 15_000_000), true),
            ((10, 500), (10, 30_000_000), false),
            ((10, 500), (9, 0), true),
            ((10, 0), (11, 0), true),
            ((10, 0), (12, 0), false),
        ] {
            assert_eq!(racy(&Stamp { ctime, ..stamp(1) }, read_at), expected, "{ctime:?} read at {read_at:?}");
        }
        let cache = StatCache::in_memory();
        let fresh = Stamp { ctime: now(), ..stamp(1) };
        cache.learn(&fresh, known("x"), now());
        assert_eq!(cache.find_learned(&fresh), None);
        cache.learn(&stamp(1), known("x"), now());
        assert_eq!(cache.find_learned(&stamp(1)), Some(known("x")));
    }

    #[test]
    fn a_run_that_learned_nothing_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        StatCache::load(&directory.path().join("stat")).save().unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
