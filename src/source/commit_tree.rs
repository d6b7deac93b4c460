//! A directory in the tree of a commit, listed as a build context: what a clean checkout would hold.
//!
//! Git keeps content and the executable bit. The rest of a mode is that of the file as it is now, where the bit is the same: nobody can
//! have changed it in a commit. A submodule is an empty directory.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use git2::{Oid, Repository, Tree as GitTree};
use rustix::fs::{AtFlags, FileType, OFlags, statat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::checked_out::CheckedOut;
use super::content_hash::ContentHash;
use super::listing::{DirectoryId, EntryKind};
use super::objects::Objects;
use super::stamp::Stamp;
use super::walk::{Lister, Listing, join};

/// File modes of tree entries (gitformat-index(5)).
pub(super) const TREE: i32 = 0o040_000;
pub(super) const LINK: i32 = 0o120_000;
pub(super) const SUBMODULE: i32 = 0o160_000;

/// Permissions of a checkout under the usual umask.
const DIRECTORY_MODE: u32 = 0o040_755;
const LINK_MODE: u32 = 0o120_777;
const FILE_MODE: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o111;

pub(super) struct CommitTree {
    pub objects: Arc<Objects>,
    pub checked_out: Arc<CheckedOut>,
    /// The tree that is the context's root; `None` for a submodule's.
    pub root: Option<Oid>,
    /// Where that is from the top of the checkout.
    pub prefix: Vec<u8>,
    /// The same directory as it is now, if it is there, until it is walked.
    pub present: Option<OwnedFd>,
    /// The committer's, seconds since 1970.
    pub time: i64,
}

impl fmt::Debug for CommitTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitTree").field("root", &self.root).finish_non_exhaustive()
    }
}

impl CommitTree {
    /// `None` where there is no tree: in a submodule.
    fn tree<'r>(&self, repository: &'r Repository, path: &[u8]) -> Result<Option<GitTree<'r>>, git2::Error> {
        let Some(root) = self.root else { return Ok(None) };
        let root = repository.find_tree(root)?;
        if path.is_empty() {
            return Ok(Some(root));
        }
        let entry = root.get_path(path_of(path))?;
        if entry.filemode_raw() == SUBMODULE { Ok(None) } else { repository.find_tree(entry.id()).map(Some) }
    }

    /// Hashes files of one directory and hands each hash on, in their order.
    pub fn hash<'n>(
        &self,
        directory: &[u8],
        names: impl Iterator<Item = &'n [u8]>,
        mut learned: impl FnMut(usize, ContentHash),
    ) -> Result<(), git2::Error> {
        self.objects.with(|repository| {
            let Some(tree) = self.tree(repository, directory)? else { return Ok(()) };
            for (at, name) in names.enumerate() {
                let blob = tree.get_name_bytes(name).ok_or_else(not_there)?.id();
                learned(at, ContentHash::of(repository.find_blob(blob)?.content()));
            }
            Ok(())
        })
    }

    /// The content of a file.
    pub fn read(&self, directory: &[u8], name: &[u8]) -> Result<Vec<u8>, git2::Error> {
        self.objects.with(|repository| {
            let tree = self.tree(repository, directory)?.ok_or_else(not_there)?;
            let blob = tree.get_name_bytes(name).ok_or_else(not_there)?.id();
            Ok(repository.find_blob(blob)?.content().to_vec())
        })
    }

    /// The mode of the root, with the type.
    pub fn mode(&self) -> u32 {
        mode_of_directory(self.present.as_ref(), b".")
    }

    fn stamp(&self, mode: u32, size: u64) -> Stamp {
        // No file has inode 0: no stat cache knows this one.
        Stamp { device: 0, inode: 0, size, mtime: (self.time, 0), ctime: (self.time, 0), mode }
    }
}

/// A tree path for libgit2.
pub(super) fn path_of(path: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path))
}

fn not_there() -> git2::Error {
    git2::Error::new(git2::ErrorCode::NotFound, git2::ErrorClass::Tree, "no such entry in the tree")
}

/// A directory of the commit, and the one in its place now.
pub(super) struct CommitListing<'t> {
    tree: &'t CommitTree,
    path: Vec<u8>,
    /// Sorted by name, as directories are; git sorts trees as if they ended with a slash.
    entries: Vec<(Vec<u8>, i32, Oid)>,
    present: Option<OwnedFd>,
}

impl Lister for CommitTree {
    type Listing<'t> = CommitListing<'t>;

    fn list(&self, path: &[u8]) -> Result<CommitListing<'_>, Errno> {
        let entries = self.objects.with(|repository| {
            let Some(tree) = self.tree(repository, path)? else { return Ok(Vec::new()) };
            let mut entries: Vec<_> = tree.iter().map(|e| (e.name_bytes().to_vec(), e.filemode_raw(), e.id())).collect();
            entries.sort();
            Ok(entries)
        });
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let present = self.present.as_ref().and_then(|root| open_beneath(root.as_fd(), path, flags).ok());
        Ok(CommitListing { tree: self, path: path.to_vec(), entries: entries.map_err(missing)?, present })
    }
}

impl Listing for CommitListing<'_> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn name(&self, at: usize) -> &[u8] {
        &self.entries[at].0
    }

    fn read(&self, at: usize) -> Result<(Stamp, bool, EntryKind), Errno> {
        let (name, mode, id) = &self.entries[at];
        match *mode {
            TREE | SUBMODULE => {
                let mode = mode_of_directory(self.present.as_ref(), name);
                Ok((self.tree.stamp(mode, 0), false, EntryKind::Directory(DirectoryId::MAX)))
            }
            LINK => {
                let target = self.tree.objects.blob(*id).map_err(missing)?;
                Ok((self.tree.stamp(LINK_MODE, target.len() as u64), false, EntryKind::Symlink(target.into())))
            }
            mode => self.file(name, if mode & 0o100 == 0 { 0 } else { EXECUTABLE }, *id),
        }
    }
}

impl CommitListing<'_> {
    fn file(&self, name: &[u8], executable: u32, id: Oid) -> Result<(Stamp, bool, EntryKind), Errno> {
        let stat = self.present.as_ref().and_then(|directory| statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok());
        let stat = stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let same_bit = |stat: &&rustix::fs::Stat| (stat.st_mode & 0o100 == 0) == (executable == 0);
        let kind = EntryKind::File(OnceLock::new());
        let Some(stat) = stat.as_ref().filter(same_bit) else {
            let size = self.tree.objects.size(id).map_err(missing)?;
            return Ok((self.tree.stamp(FILE_MODE | executable, size), false, kind));
        };
        let (stamp, linked) = (Stamp::from(stat), stat.st_nlink > 1);
        let path = join(&self.tree.prefix, &join(&self.path, name));
        // What was learned of the file as it is now holds for the one of then.
        if self.tree.checked_out.is(&path, id, &stamp) {
            return Ok((stamp, linked, kind));
        }
        let size = self.tree.objects.size(id).map_err(missing)?;
        Ok((self.tree.stamp(stamp.mode, size), false, kind))
    }
}

fn mode_of_directory(parent: Option<&OwnedFd>, name: &[u8]) -> u32 {
    let stat = parent.and_then(|parent| statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok());
    let mode = stat.map(|stat| stat.st_mode).filter(|mode| FileType::from_raw_mode(*mode) == FileType::Directory);
    mode.unwrap_or(DIRECTORY_MODE)
}

/// An object that should be there is not, or is damaged: directories remember why they could not be read as the kernel says it.
fn missing(_: git2::Error) -> Errno {
    Errno::NODATA
}
