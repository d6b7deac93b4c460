//! What a tree was before a Step, and what of it is different afterwards: a replacement for overlayfs, which would know.
//!
//! A path is changed if anything that lstat(2) tells of it is: ctime gives away every change of content, owner, mode or attribute, the
//! inode and its birth a replacement. What cannot be seen is a file that was opened for writing and not written to, which overlayfs
//! copies up; and through which of its names a file with several hard links was changed: all are.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};

use super::super::sandbox::wait_for_the_tick_after;
use super::names::Names;
use crate::image::{self, Found, walk};

/// All paths of a tree with their stamps, about a hundred bytes each.
pub(super) struct Scan {
    /// In the order of the walk: parents before children, siblings sorted by bytes.
    entries: Vec<Entry>,
    /// The names of all entries, one after the other.
    names: Vec<u8>,
}

struct Entry {
    stamp: Stamp,
    /// Where its name ends in [`Scan::names`]; it begins where the one before ends.
    name_end: usize,
    /// 1 for what lies in the root.
    depth: u32,
}

/// What tells one state of a path from another. Times in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    /// Inode numbers are used again; 0 where the file system keeps no time of birth, and for files, whose ctime is as good.
    birth: i64,
    changed: i64,
    modified: i64,
    size: i64,
    device: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
}

pub(super) enum Change<'a> {
    /// Removed, with everything below it.
    Gone(&'a [u8]),
    /// New or different. A directory in place of something else, another directory included, hides what was there: it `replaces`. So does
    /// what is made like a whiteout.
    There { found: &'a Found<'a>, replaces: bool },
}

impl Stamp {
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    fn of(found: &Found<'_>) -> io::Result<Self> {
        let stat = &found.stat;
        let nanoseconds = |seconds: i64, rest: i64| -> i64 { seconds.wrapping_mul(1_000_000_000).wrapping_add(rest) };
        let birth = match found.directory() {
            Some(fd) => {
                let statx = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME)?;
                let known = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
                if known { nanoseconds(statx.stx_btime.tv_sec, statx.stx_btime.tv_nsec.into()) } else { 0 }
            }
            None => 0,
        };
        Ok(Self {
            inode: stat.st_ino,
            birth,
            changed: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            modified: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            size: stat.st_size as i64,
            device: stat.st_rdev,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            links: stat.st_nlink as u64,
        })
    }

    fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.inode, self.birth, self.mode & libc::S_IFMT) == (other.inode, other.birth, other.mode & libc::S_IFMT)
    }

    /// Whether it is a file with several.
    fn has_names(&self) -> bool {
        self.links > 1 && !self.is_directory()
    }

    /// Whether the number of its names may be all that happened to a file with several: one that lost a name has a new ctime.
    fn is_same_but_for_names(&self, now: &Self) -> bool {
        self.has_names() && *self == Self { changed: self.changed, links: self.links, ..*now }
    }
}

impl Scan {
    /// Records the tree. Nothing must change it meanwhile; what changes it afterwards is told by its stamp.
    pub fn of(root: &Path) -> Result<Self, image::Error> {
        let mut scan = Self { entries: Vec::new(), names: Vec::new() };
        let mut newest = 0;
        walk(root, |found| {
            let failed = |source| image::Error::Read { path: String::from_utf8_lossy(found.path).into_owned(), source };
            let Some(name) = found.path.rsplit(|&b| b == b'/').next().filter(|name| !name.is_empty()) else { return Ok(()) };
            let stamp = Stamp::of(found).map_err(failed)?;
            newest = newest.max(stamp.changed);
            scan.names.extend_from_slice(name);
            let depth = 1 + found.path.iter().filter(|&&b| b == b'/').count() as u32;
            scan.entries.push(Entry { stamp, name_end: scan.names.len(), depth });
            Ok::<(), image::Error>(())
        })?;
        wait_for_the_tick_after(newest);
        Ok(scan)
    }

    /// Calls `visit` for everything in `root` that is not as it was, in the order of the walk, but for the paths `untouched`, whose stamps
    /// have changed and nothing else; a file with several names may have been changed through another one. `same` decides about such a file
    /// and about one that lost one of its names, by comparing it with what it was made of. Returns the names that were found.
    pub fn changes<E: From<image::Error>>(
        &self,
        root: &Path,
        untouched: &BTreeSet<Vec<u8>>,
        same: impl Fn(&Found<'_>) -> Result<bool, E>,
        mut visit: impl FnMut(Change<'_>) -> Result<(), E>,
    ) -> Result<Names, E> {
        let mut before = Cursor::new(self);
        let mut names = Names::default();
        walk(root, |found| {
            if found.path.is_empty() {
                return Ok(());
            }
            names.count(&found.stat);
            while before.stamp().is_some() && order(&before.path, found.path) == Ordering::Less {
                visit(Change::Gone(&before.path))?;
                before.skip();
            }
            let Some(was) = before.stamp().filter(|_| before.path == found.path) else {
                return visit(Change::There { found, replaces: false });
            };
            let failed = |source| image::Error::Read { path: String::from_utf8_lossy(found.path).into_owned(), source };
            let now = Stamp::of(found).map_err(failed)?;
            let same_file = was.is_same_file(&now);
            // What lay in a directory that was replaced hides with it.
            if same_file {
                before.advance()
            } else {
                before.skip()
            }
            let untouched = !was.has_names() && !now.has_names() && untouched.contains(found.path);
            let unchanged = was == now || same_file && (untouched || was.is_same_but_for_names(&now) && same(found)?);
            let replaces = !same_file && (now.is_directory() || image::is_whiteout(&found.stat));
            if unchanged { Ok(()) } else { visit(Change::There { found, replaces }) }
        })?;
        while before.stamp().is_some() {
            visit(Change::Gone(&before.path))?;
            before.skip();
        }
        Ok(names)
    }
}

/// A place in a scan.
struct Cursor<'a> {
    scan: &'a Scan,
    next: usize,
    path: Vec<u8>,
    /// The lengths of the paths of the entry's parents, the root's first.
    above: Vec<usize>,
}

impl<'a> Cursor<'a> {
    fn new(scan: &'a Scan) -> Self {
        let mut cursor = Self { scan, next: 0, path: Vec::new(), above: Vec::new() };
        cursor.load();
        cursor
    }

    fn stamp(&self) -> Option<Stamp> {
        self.scan.entries.get(self.next).map(|entry| entry.stamp)
    }

    fn load(&mut self) {
        let Some(entry) = self.scan.entries.get(self.next) else { return };
        let begin = self.next.checked_sub(1).map_or(0, |before| self.scan.entries[before].name_end);
        while self.above.len() < entry.depth as usize {
            self.above.push(self.path.len());
        }
        self.above.truncate(entry.depth as usize);
        self.path.truncate(self.above.last().copied().unwrap_or(0));
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&self.scan.names[begin..entry.name_end]);
    }

    fn advance(&mut self) {
        self.next += 1;
        self.load();
    }

    /// To what does not lie below this entry.
    fn skip(&mut self) {
        let Some(depth) = self.scan.entries.get(self.next).map(|entry| entry.depth) else { return };
        self.next += 1;
        while self.scan.entries.get(self.next).is_some_and(|entry| entry.depth > depth) {
            self.next += 1;
        }
        self.load();
    }
}

/// The order of the walk: a directory's entries stand before any sibling that follows it.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.iter().map(key).cmp(other.iter().map(key))
}
