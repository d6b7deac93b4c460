//! A snapshot laid over a directory, which then shows what overlayfs would show of the two.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, Stat, linkat, mkdirat, statat};
use rustix::io::Errno;

use super::super::error::Error;
use super::entry;
use crate::image::{Found, is_opaque, is_whiteout, read_xattrs, walk};

/// Applies `snapshot` to the directory `tree`. The snapshot's files are copied, never linked: a RUN may write into them.
pub(super) fn apply(snapshot: &Path, tree: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { action: "unpack a layer to", path: tree.to_owned(), source };
    let root = entry::open_root(tree).map_err(failed)?;
    let mut laying = Laying { tree, root: root.as_fd(), links: HashMap::new(), directories: Vec::new() };
    walk(snapshot, |found| {
        laying.lay(found).map_err(|source| Error::Io { action: "unpack a layer to", path: super::below(tree, found.path), source })
    })?;
    laying.finish().map_err(failed)
}

/// Gives what `snapshot` has, and `tree` has too, the times that it has in the snapshot: layers are dated, and the next Step has to see that.
pub(super) fn date_like(snapshot: &Path, tree: &Path) -> Result<(), Error> {
    let failed = |path: &[u8], source| Error::Io { action: "set the time of", path: super::below(tree, path), source };
    let root = entry::open_root(tree).map_err(|source| failed(b"", source))?;
    walk(snapshot, |found| {
        if found.path.is_empty() || is_whiteout(&found.stat) {
            return Ok(());
        }
        entry::date(root.as_fd(), found.path, &found.stat).map_err(|source| failed(found.path, source))
    })
}

struct Laying<'a> {
    tree: &'a Path,
    root: BorrowedFd<'a>,
    /// The first copy of every file of the snapshot that has several names.
    links: HashMap<u64, Vec<u8>>,
    /// Their times are set last.
    directories: Vec<(Vec<u8>, Stat)>,
}

impl Laying<'_> {
    fn lay(&mut self, found: &Found<'_>) -> io::Result<()> {
        // The root of a snapshot says nothing: that of an image is always 0755 and root's.
        if found.path.is_empty() {
            return Ok(());
        }
        if is_whiteout(&found.stat) {
            return entry::remove(self.root, self.tree, found.path);
        }
        if let Some(directory) = found.directory() {
            return self.lay_directory(found.path, directory);
        }
        let linked = found.stat.st_nlink > 1;
        let first = self.links.get(&found.stat.st_ino).filter(|_| linked);
        let make = || match first {
            Some(first) => Ok(linkat(self.root, first.as_slice(), self.root, found.path, AtFlags::empty())?),
            None => entry::copy(found, self.root, found.path),
        };
        match make() {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                entry::remove(self.root, self.tree, found.path)?;
                make()?;
            }
            other => other?,
        }
        if linked {
            self.links.entry(found.stat.st_ino).or_insert_with(|| found.path.to_vec());
        }
        Ok(())
    }

    fn lay_directory(&mut self, path: &[u8], directory: BorrowedFd<'_>) -> io::Result<()> {
        let make = || mkdirat(self.root, path, Mode::from_raw_mode(0o700));
        match make() {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let there = statat(self.root, path, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(there.st_mode) != FileType::Directory || is_opaque(&read_xattrs(directory)?) {
                    entry::remove(self.root, self.tree, path)?;
                    make()?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        let stat = entry::describe_directory(directory, self.root, path)?;
        self.directories.push((path.to_vec(), stat));
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        self.directories.iter().rev().try_for_each(|(path, stat)| entry::date(self.root, path, stat))
    }
}
