//! The files of a context, hashed: each at most once, and only those that no run before has hashed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags, fstat, openat};

use super::beneath::open_beneath;
use super::commit_tree::CommitTree;
use super::content_hash::{ContentHash, FileHasher};
use super::context::{Context, Origin, changed};
use super::error::{Error, shown};
use super::listing::{Directory, Entry, EntryId, EntryKind};
use super::stamp::{Stamp, now};
use super::walk::join;

/// For these a directory is opened, and they are hashed by one thread.
const FILES_AT_ONCE: usize = 64;

impl Context {
    /// Makes the contents known of all files among `entries`.
    pub(super) fn learn_contents(&self, entries: &[EntryId]) -> Result<(), Error> {
        let mut remembered = self.cache.search();
        let mut unknown = Vec::new();
        for &id in entries {
            let entry = self.at(id).1;
            let EntryKind::File(content) = &entry.kind else { continue };
            if content.get().is_none() {
                match remembered.find(&entry.stamp) {
                    Some(found) => drop(content.set(found)),
                    None => unknown.push(id),
                }
            }
        }
        unknown.sort_unstable();
        unknown.dedup();
        let batches: Vec<&[EntryId]> =
            unknown.chunk_by(|one, other| one.directory == other.directory).flat_map(|files| files.chunks(FILES_AT_ONCE)).collect();
        if batches.is_empty() {
            return Ok(());
        }
        match &self.origin {
            Origin::Disk => {
                let root = self.open_root().map_err(|source| Error::Read { path: self.path().to_owned(), source })?;
                batches.into_par_iter().try_for_each_init(FileHasher::new, |hasher, files| self.hash_files(root.as_fd(), files, hasher))
            }
            Origin::Commit(tree) => batches.into_par_iter().try_for_each(|files| self.hash_blobs(tree, files)),
        }
    }

    /// Hashes files of one directory.
    fn hash_files(&self, root: BorrowedFd<'_>, files: &[EntryId], hasher: &mut FileHasher) -> Result<(), Error> {
        let Some(directory) = files.first().map(|id| self.at(*id).0) else { return Ok(()) };
        let failed = |path: &[u8], source| Error::Read { path: shown(path).into(), source };
        let open = open_beneath(root, &directory.path, OFlags::PATH | OFlags::DIRECTORY);
        let open = open.map_err(|error| failed(&directory.path, error))?;
        let mut learned = Vec::with_capacity(files.len());
        for id in files {
            let entry = self.at(*id).1;
            let read_at = now();
            let content = self.hash_file(open.as_fd(), directory, entry, hasher);
            let content = content.map_err(|error| failed(&join(&directory.path, directory.name(entry)), error))?;
            learned.push((entry.stamp, content, read_at));
            if let EntryKind::File(known) = &entry.kind {
                let _ = known.set(content);
            }
        }
        self.cache.learn(&learned);
        Ok(())
    }

    /// Hashes files of one directory of a commit. Nothing of that is remembered: what it was checked out as may be something else.
    fn hash_blobs(&self, tree: &CommitTree, files: &[EntryId]) -> Result<(), Error> {
        let Some(directory) = files.first().map(|id| self.at(*id).0) else { return Ok(()) };
        let names = files.iter().map(|id| directory.name(self.at(*id).1));
        let learn = |at: usize, content| {
            if let EntryKind::File(known) = &self.at(files[at]).1.kind {
                let _ = known.set(content);
            }
        };
        tree.hash(&directory.path, names, learn).map_err(|error| Error::Read {
            path: shown(&directory.path).into(),
            source: io::Error::other(format!("git: {}", error.message())),
        })
    }

    fn hash_file(&self, open: BorrowedFd<'_>, directory: &Directory, entry: &Entry, hasher: &mut FileHasher) -> io::Result<ContentHash> {
        let name = directory.name(entry);
        // Should it have become a FIFO since: opening does not block, and the stamp differs.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(open, name, flags, Mode::empty())?);
        self.cache.count_opened();
        let unchanged = || match Stamp::from(&fstat(&file)?) == entry.stamp {
            true => Ok(()),
            false => Err(changed(&join(&directory.path, name))),
        };
        unchanged()?;
        let content = hasher.hash(&file)?;
        unchanged()?;
        Ok(content)
    }
}
