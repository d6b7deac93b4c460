//! The changes of a tree as an overlay's upper directory has them: whiteouts, opaque marks, and the directories on the way.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, Stat, fremovexattr, linkat, mkdirat, renameat};

use super::super::error::Error;
use super::entry;
use super::scan::Change;
use crate::image::{Found, is_private_xattr, is_whiteout, make_whiteout, mark_opaque, read_xattrs};

/// Makes an upper directory.
pub(super) struct Collector<'a> {
    tree: OwnedFd,
    upper: OwnedFd,
    upper_path: &'a Path,
    /// Whether files leave the tree instead of being copied: nobody needs it any more. One that has several names never does: not all of
    /// them have to be in the tree, and what has one elsewhere can be written to.
    take: bool,
    made: HashSet<Vec<u8>>,
    /// The first name in the upper directory of every file that has several.
    links: HashMap<u64, Vec<u8>>,
    /// Their times are set last.
    directories: Vec<(Vec<u8>, Stat)>,
    /// Whether something of the tree will be in no layer: what goes on from the layers must not find it.
    left_out: bool,
}

impl<'a> Collector<'a> {
    pub fn new(tree: &Path, upper: &'a Path, take: bool) -> Result<Self, Error> {
        let open = |path: &Path| entry::open_root(path).map_err(|source| Error::Io { action: "open", path: path.to_owned(), source });
        Ok(Self {
            tree: open(tree)?,
            upper: open(upper)?,
            upper_path: upper,
            take,
            made: HashSet::new(),
            links: HashMap::new(),
            directories: Vec::new(),
            left_out: false,
        })
    }

    pub fn add(&mut self, change: &Change<'_>) -> Result<(), Error> {
        let path = match change {
            Change::Gone(path) => path,
            Change::There { found, .. } => found.path,
        };
        let added = match change {
            Change::Gone(path) => self.gone(path),
            Change::There { found, replaces } => self.there(found, *replaces),
        };
        added.map_err(|source| Error::Io { action: "collect the change of", path: super::below(Path::new("/"), path), source })
    }

    fn gone(&mut self, path: &[u8]) -> io::Result<()> {
        self.make_parents(path)?;
        Ok(make_whiteout(&self.upper, path)?)
    }

    fn there(&mut self, found: &Found<'_>, replaces: bool) -> io::Result<()> {
        let path = found.path;
        self.make_parents(path)?;
        self.left_out |= is_left_out(found)?;
        if found.directory().is_some() {
            return self.make_directory(path, replaces);
        }
        // overlayfs lets nobody make one: it is nothing, and what it replaces is gone.
        if is_whiteout(&found.stat) {
            return if replaces { Ok(make_whiteout(&self.upper, path)?) } else { Ok(()) };
        }
        let linked = found.stat.st_nlink > 1;
        if let Some(first) = self.links.get(&found.stat.st_ino).filter(|_| linked) {
            return Ok(linkat(&self.upper, first.as_slice(), &self.upper, path, AtFlags::empty())?);
        }
        match self.take && !linked {
            true => self.take_file(found)?,
            false => entry::copy(found, self.upper.as_fd(), path)?,
        }
        if linked {
            self.links.entry(found.stat.st_ino).or_insert_with(|| path.to_vec());
        }
        Ok(())
    }

    fn take_file(&self, found: &Found<'_>) -> io::Result<()> {
        if found.file_type() == FileType::RegularFile {
            let file = found.open()?;
            for (name, _) in read_xattrs(&file)?.iter().filter(|(name, _)| is_private_xattr(name)) {
                fremovexattr(&file, name.as_slice())?;
            }
        }
        let (parent, name) = found.place();
        Ok(renameat(parent, name, &self.upper, found.path)?)
    }

    /// As overlayfs copies up the directories above what it copies up.
    fn make_parents(&mut self, path: &[u8]) -> io::Result<()> {
        let slashes: Vec<usize> = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at).collect();
        slashes
            .into_iter()
            .try_for_each(|at| if self.made.contains(&path[..at]) { Ok(()) } else { self.make_directory(&path[..at], false) })
    }

    fn make_directory(&mut self, path: &[u8], replaces: bool) -> io::Result<()> {
        mkdirat(&self.upper, path, Mode::from_raw_mode(0o700))?;
        let from = entry::open_directory(self.tree.as_fd(), path)?;
        let stat = entry::describe_directory(from.as_fd(), self.upper.as_fd(), path)?;
        if replaces {
            let made = entry::open_directory(self.upper.as_fd(), path)?;
            mark_opaque(&made)?;
        }
        self.made.insert(path.to_vec());
        self.directories.push((path.to_vec(), stat));
        Ok(())
    }

    /// Sets what has to be set last. Whether a layer of the upper directory has all that was there.
    pub fn finish(self) -> Result<bool, Error> {
        let date = |(path, stat): &(Vec<u8>, Stat)| entry::date(self.upper.as_fd(), path, stat);
        let failed = |source| Error::Io { action: "set the times in", path: self.upper_path.to_owned(), source };
        self.directories.iter().rev().try_for_each(date).map_err(failed)?;
        Ok(!self.left_out)
    }
}

/// Whether a layer has no such file, or not all of its attributes. `security.` but for capabilities is the machine's: a RUN cannot set it.
fn is_left_out(found: &Found<'_>) -> io::Result<bool> {
    let attributes = match (found.directory(), found.file_type()) {
        (Some(directory), _) => read_xattrs(directory)?,
        (None, FileType::RegularFile) => read_xattrs(found.open()?)?,
        (None, kind) => return Ok(kind == FileType::Socket || is_whiteout(&found.stat)),
    };
    Ok(attributes.iter().any(|(name, _)| !name.starts_with(b"security.")))
}
