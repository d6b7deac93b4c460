//! The one pass over a build context: level by level, the directories of a level in parallel.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;
use rustix::fs::{AtFlags, OFlags, RawDir, statat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::error::Error;
use super::ignore::IgnoreFile;
use super::inode::node_of;
use super::pattern_list::Verdict;
use super::stat_cache::{Stamp, StatCache};
use super::tree::{Node, NodeKind, TreePath};

/// The entries of a directory, sorted by name, or why they could not be read.
pub(super) type Listing = Result<Vec<Entry>, Errno>;

#[derive(Debug)]
pub(super) struct Entry {
    pub name: Vec<u8>,
    pub node: Node,
    pub stamp: Stamp,
    /// What is known of a file's content: from the stat cache, or once it was read.
    pub known: Mutex<Option<crate::oci::Digest>>,
}

struct Pending {
    path: TreePath,
    verdict: Verdict,
}

struct Scanned {
    path: TreePath,
    /// The directory itself is excluded: it stays only as the parent of something that is not.
    excluded: bool,
    listing: Listing,
    below: Vec<Pending>,
}

/// Every directory that is not excluded, by path, with its entries.
pub(super) fn walk(
    root: BorrowedFd<'_>,
    shown: &Path,
    ignore: &IgnoreFile,
    cache: &StatCache,
) -> Result<HashMap<TreePath, Listing>, Error> {
    let mut directories = HashMap::new();
    let mut doubtful = Vec::new();
    let mut level = vec![Pending { path: Vec::new(), verdict: Verdict::default() }];
    while !level.is_empty() {
        let scanned: Vec<Scanned> = level.into_par_iter().map(|pending| scan(root, pending, ignore, cache)).collect();
        level = Vec::new();
        for directory in scanned {
            if directory.excluded {
                doubtful.push(directory.path.clone());
            }
            level.extend(directory.below);
            directories.insert(directory.path, directory.listing);
        }
    }
    // Deepest first: an excluded directory goes unless something below it stayed.
    for path in doubtful.into_iter().rev() {
        if directories.get(&path).is_some_and(|listing| listing.as_ref().is_ok_and(|entries| !entries.is_empty())) {
            continue;
        }
        directories.remove(&path);
        let (parent, name) = split(&path);
        if let Some(Ok(entries)) = directories.get_mut(parent)
            && let Ok(at) = entries.binary_search_by(|entry| entry.name.as_slice().cmp(name))
        {
            entries.remove(at);
        }
    }
    match directories.get(&b""[..]) {
        Some(Err(error)) => Err(Error::Read { path: shown.to_owned(), source: (*error).into() }),
        _ => Ok(directories),
    }
}

/// A path's parent and last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

pub(super) fn join(parent: &[u8], name: &[u8]) -> TreePath {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

fn scan(root: BorrowedFd<'_>, pending: Pending, ignore: &IgnoreFile, cache: &StatCache) -> Scanned {
    let mut below = Vec::new();
    let listing = list(root, &pending, ignore, cache, &mut below);
    Scanned { excluded: pending.verdict.matched, path: pending.path, listing, below }
}

fn list(root: BorrowedFd<'_>, pending: &Pending, ignore: &IgnoreFile, cache: &StatCache, below: &mut Vec<Pending>) -> Listing {
    let directory = open_beneath(root, &pending.path, OFlags::RDONLY | OFlags::DIRECTORY)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mut entries = Vec::new();
    for name in names(&directory)? {
        let path = join(&pending.path, &name);
        let verdict = ignore.judge(&path, &pending.verdict);
        if verdict.matched && !ignore.may_differ_below(&path, &verdict) {
            continue;
        }
        let (node, stamp) = match read_node(directory.as_fd(), &name) {
            Ok(read) => read,
            // Gone since it was listed.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        match node.kind {
            NodeKind::Directory => below.push(Pending { path, verdict }),
            _ if verdict.matched => continue,
            _ => {}
        }
        let known = if node.kind == NodeKind::File { cache.find(&stamp) } else { None };
        entries.push(Entry { name, node, stamp, known: Mutex::new(known) });
    }
    Ok(entries)
}

fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut out = Vec::new();
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            out.push(name);
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// The names in an open directory, sorted.
pub(super) fn sorted_names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    Ok(names(directory)?)
}

fn read_node(directory: BorrowedFd<'_>, name: &[u8]) -> Result<(Node, Stamp), Errno> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let node = Node { uid: 0, gid: 0, ..node_of(directory, name, &stat)? };
    Ok((node, Stamp::from(&stat)))
}
