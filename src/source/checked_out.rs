//! Which blob each file of the work tree is, by git's index (gitformat-index(5)). What `stat` tells of a file decides whether that still
//! holds, as it does for `git status`.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use git2::{IndexTime, Oid, Repository};

use super::stamp::Stamp;

/// By path from the top of the checkout.
#[derive(Debug, Default)]
pub(super) struct CheckedOut {
    entries: HashMap<Vec<u8>, Known>,
    /// When the index was written: seconds and nanoseconds since 1970.
    written: (i64, u32),
}

/// The index keeps the lower 32 bits of numbers.
#[derive(Debug)]
struct Known {
    blob: Oid,
    inode: u32,
    size: u32,
    mtime: IndexTime,
    ctime: IndexTime,
}

impl CheckedOut {
    /// Nothing is known where there is no index, or one of a kind that libgit2 does not read.
    pub fn read(repository: &Repository) -> Self {
        // Before the index is read: one that is newer only makes more files doubtful.
        let Ok(file) = std::fs::metadata(repository.path().join("index")) else { return Self::default() };
        let Ok(index) = repository.index() else { return Self::default() };
        // Of a conflict no side is what the file is.
        let merged = index.iter().filter(|entry| entry.flags & (3 << 12) == 0);
        let known = merged.map(|entry| {
            let known = Known { blob: entry.id, inode: entry.ino, size: entry.file_size, mtime: entry.mtime, ctime: entry.ctime };
            (entry.path, known)
        });
        Self { entries: known.collect(), written: (file.mtime(), file.mtime_nsec() as u32) }
    }

    /// Whether the file of this stamp is the blob, after all filters of a checkout (line endings, LFS).
    #[allow(clippy::cast_possible_truncation, reason = "as git does")]
    pub fn is(&self, path: &[u8], blob: Oid, stamp: &Stamp) -> bool {
        let same_time = |at: &IndexTime, time: (i64, u32)| at.seconds() == time.0 as i32 && at.nanoseconds() == time.1;
        self.entries.get(path).is_some_and(|known| {
            known.blob == blob
                && known.inode == stamp.inode as u32
                && known.size == stamp.size as u32
                && same_time(&known.mtime, stamp.mtime)
                && same_time(&known.ctime, stamp.ctime)
                && !stamp.racy(self.written)
        })
    }
}
