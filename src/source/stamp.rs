//! Whether a file is the one that was read before, by what `stat` tells of its inode: whatever changes content also changes
//! `ctime`, which no program can set.

use rustix::fs::Stat;
use rustix::time::{ClockId, clock_gettime};

/// All that `stat` tells of a file's identity and age. Times are seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub mtime: (i64, u32),
    pub ctime: (i64, u32),
    pub mode: u32,
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

impl Stamp {
    /// What files are told apart by while they live: device and inode.
    pub fn key(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// As in git ("racily clean"): whether a file that was read at `read_at` could still have changed since without its `ctime`
    /// telling. 20 ms is two ticks of the slowest kernel clock; a file system that keeps whole seconds (ext3, FAT) needs more.
    pub fn racy(&self, read_at: (i64, u32)) -> bool {
        let nanoseconds = |(seconds, fraction): (i64, u32)| i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
        let granularity = if self.ctime.1 == 0 { 2_000_000_000 } else { 20_000_000 };
        nanoseconds(self.ctime) + granularity > nanoseconds(read_at)
    }
}

/// The clock that the kernel stamps files by.
pub(super) fn now() -> (i64, u32) {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_change_unseen_within_the_clocks_granularity() {
        for (ctime, read_at, expected) in [
            ((10, 500), (10, 500), true),
            ((10, 500), (10, 15_000_000), true),
            ((10, 500), (10, 30_000_000), false),
            ((10, 500), (9, 0), true),
            ((10, 0), (11, 0), true),
            ((10, 0), (12, 0), false),
        ] {
            let stamp = Stamp { device: 1, inode: 1, size: 3, mtime: (100, 5), ctime, mode: 0o100644 };
            assert_eq!(stamp.racy(read_at), expected, "{ctime:?} read at {read_at:?}");
        }
    }
}
