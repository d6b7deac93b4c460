//! Whether the files of a tree have names elsewhere: on rung 3 a cache lies in the root while a RUN lasts, and a RUN may link its files
//! into it. Whoever has the cache next writes to what such a file is.

use std::collections::HashMap;

use rustix::fs::{FileType, Stat};

/// The names of the files that have several, by inode.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<u64, Count>);

#[derive(Debug, Default)]
struct Count {
    found: u64,
    /// As of the name that was found last: what is elsewhere may go meanwhile.
    links: u64,
}

impl Names {
    /// Counts a name of the tree.
    #[allow(clippy::unnecessary_cast, reason = "the field's type differs between architectures")]
    pub fn count(&mut self, stat: &Stat) {
        if stat.st_nlink > 1 && FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let count = self.0.entry(stat.st_ino).or_default();
            count.found += 1;
            count.links = stat.st_nlink as u64;
        }
    }

    /// Whether no file has a name besides those that were counted.
    pub fn are_all(&self) -> bool {
        self.0.values().all(|count| count.links <= count.found)
    }
}
