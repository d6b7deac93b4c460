//! The one pass over a build context: level by level, the directories of a level in parallel. What lists them is a [`Lister`]: an open
//! directory, or a commit.

use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rayon::prelude::*;
use rustix::fs::{AtFlags, OFlags, RawDir, Stat, statat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::error::Error;
use super::ignore::IgnoreFile;
use super::inode::node_of;
use super::listing::{Directory, DirectoryId, Entry, EntryKind};
use super::pattern_list::Verdict;
use super::stamp::Stamp;
use super::tree::{NodeKind, TreePath};

/// What a context is listed from.
pub(super) trait Lister: Sync {
    type Listing<'l>: Listing
    where
        Self: 'l;
    /// The directory at a path below the root; of the root itself where it is empty.
    fn list(&self, path: &[u8]) -> Result<Self::Listing<'_>, Errno>;
}

/// The names in a directory, sorted, and what they stand for.
pub(super) trait Listing {
    fn len(&self) -> usize;
    fn name(&self, at: usize) -> &[u8];
    /// What is there; whether it has other names too; a directory's id is not known yet. `ENOENT` for what is gone.
    fn read(&self, at: usize) -> Result<(Stamp, bool, EntryKind), Errno>;
}

/// A directory that is to be listed.
struct Pending {
    path: TreePath,
    verdict: Verdict,
    /// Which entry it is, of which directory; none for the root.
    entry: Option<(DirectoryId, usize)>,
}

struct Listed {
    directory: Directory,
    entry: Option<(DirectoryId, usize)>,
    /// The directory itself is excluded: it stays only as the parent of something that is not.
    excluded: bool,
    /// Its directories: the entry of each, and how it is judged.
    below: Vec<(usize, Verdict)>,
}

/// Every directory that is not excluded, the root first, parents before children.
pub(super) fn walk(root: &impl Lister, shown: &Path, ignore: &IgnoreFile) -> Result<Vec<Directory>, Error> {
    let mut directories: Vec<Directory> = Vec::new();
    let mut doubtful = Vec::new();
    let mut level = vec![Pending { path: Vec::new(), verdict: Verdict::default(), entry: None }];
    while !level.is_empty() {
        let listed: Vec<Listed> = level.into_par_iter().map(|pending| list(root, pending, ignore)).collect();
        level = Vec::new();
        for Listed { directory, entry, excluded, below } in listed {
            let id = directories.len() as DirectoryId;
            if let Some((parent, at)) = entry {
                directories[parent as usize].entries[at].kind = EntryKind::Directory(id);
                doubtful.extend(excluded.then_some((id, parent)));
            }
            level.extend(below.into_iter().map(|(at, verdict)| {
                let path = join(&directory.path, directory.name(&directory.entries[at]));
                Pending { path, verdict, entry: Some((id, at)) }
            }));
            directories.push(directory);
        }
    }
    // Deepest first: an excluded directory goes unless something below it stayed.
    for (id, parent) in doubtful.into_iter().rev() {
        if !directories[id as usize].entries.is_empty() {
            continue;
        }
        let path = std::mem::take(&mut directories[id as usize].path);
        let parent = &mut directories[parent as usize];
        if let Some(at) = parent.find(split(&path).1) {
            parent.entries.remove(at);
        }
    }
    match directories.first().and_then(|root| root.failed) {
        Some(error) => Err(Error::Read { path: shown.to_owned(), source: error.into() }),
        None => Ok(directories),
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

fn list(root: &impl Lister, Pending { path, verdict, entry }: Pending, ignore: &IgnoreFile) -> Listed {
    let excluded = verdict.matched;
    let mut directory = Directory { path, entries: Vec::new(), names: Vec::new(), failed: None };
    let mut below = Vec::new();
    if let Err(error) = fill(&mut directory, root, &verdict, ignore, &mut below) {
        directory = Directory { path: directory.path, entries: Vec::new(), names: Vec::new(), failed: Some(error) };
        below = Vec::new();
    }
    Listed { directory, entry, excluded, below }
}

fn fill(
    directory: &mut Directory,
    root: &impl Lister,
    verdict: &Verdict,
    ignore: &IgnoreFile,
    below: &mut Vec<(usize, Verdict)>,
) -> Result<(), Errno> {
    let listing = root.list(&directory.path)?;
    directory.entries.reserve_exact(listing.len());
    let mut path = directory.path.clone();
    path.extend((!path.is_empty()).then_some(b'/'));
    let prefix = path.len();
    for at in 0..listing.len() {
        let name = listing.name(at);
        path.truncate(prefix);
        path.extend_from_slice(name);
        let excluded = ignore.takes(&path, verdict);
        // Only a directory is worth a look then, and only for what may be below it.
        let judged = if excluded { Some(ignore.judge(&path, verdict)) } else { None };
        if judged.as_ref().is_some_and(|judged| !ignore.may_differ_below(&path, judged)) {
            continue;
        }
        let (stamp, linked, kind) = match listing.read(at) {
            Ok(read) => read,
            // Gone since it was listed.
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(error),
        };
        match kind {
            EntryKind::Directory(_) => {
                below.push((directory.entries.len(), judged.unwrap_or_else(|| ignore.judge(&path, verdict))));
            }
            _ if excluded => continue,
            _ => {}
        }
        let place = |names: &Vec<u8>| u32::try_from(names.len()).map_err(|_| Errno::OVERFLOW);
        let start = place(&directory.names)?;
        directory.names.extend_from_slice(name);
        directory.entries.push(Entry { name: start..place(&directory.names)?, stamp, linked, kind });
    }
    Ok(())
}

impl Lister for OwnedFd {
    type Listing<'l> = OnDisk;

    fn list(&self, path: &[u8]) -> Result<OnDisk, Errno> {
        let directory = open_beneath(self.as_fd(), path, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(OnDisk { names: Names::read(&directory)?, directory })
    }
}

pub(super) struct OnDisk {
    directory: OwnedFd,
    names: Names,
}

impl Listing for OnDisk {
    fn len(&self) -> usize {
        self.names.sorted.len()
    }

    fn name(&self, at: usize) -> &[u8] {
        self.names.at(at).to_bytes()
    }

    fn read(&self, at: usize) -> Result<(Stamp, bool, EntryKind), Errno> {
        let name = self.names.at(at);
        let stat: Stat = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let node = node_of(self.directory.as_fd(), name.to_bytes(), &stat)?;
        let linked = node.hardlink.is_some();
        let kind = match node.kind {
            NodeKind::File => EntryKind::File(OnceLock::new()),
            NodeKind::Directory => EntryKind::Directory(DirectoryId::MAX),
            NodeKind::Symlink(target) => EntryKind::Symlink(target.into()),
            NodeKind::Fifo => EntryKind::Fifo,
            NodeKind::Socket => EntryKind::Socket,
            NodeKind::CharDevice { major, minor } => EntryKind::CharDevice { major, minor },
            NodeKind::BlockDevice { major, minor } => EntryKind::BlockDevice { major, minor },
        };
        Ok((Stamp::from(&stat), linked, kind))
    }
}

/// The names in a directory, `.` and `..` left out.
struct Names {
    /// Each with the NUL that system calls want.
    bytes: Vec<u8>,
    sorted: Vec<Range<usize>>,
}

impl Names {
    fn read(directory: &OwnedFd) -> Result<Self, Errno> {
        let (mut bytes, mut sorted) = (Vec::new(), Vec::new());
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                let start = bytes.len();
                bytes.extend_from_slice(name.to_bytes_with_nul());
                sorted.push(start..bytes.len());
            }
        }
        // The NUL sorts before every byte that a name may have.
        sorted.sort_unstable_by(|one: &Range<usize>, other| bytes[one.clone()].cmp(&bytes[other.clone()]));
        Ok(Self { bytes, sorted })
    }

    fn at(&self, at: usize) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[self.sorted[at].clone()]).unwrap_or_default()
    }
}

/// The names in an open directory, sorted.
pub(super) fn sorted_names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let names = Names::read(directory)?;
    Ok((0..names.sorted.len()).map(|at| names.at(at).to_bytes().to_vec()).collect())
}
