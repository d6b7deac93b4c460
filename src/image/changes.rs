//! The walk over an overlay upper directory (or any snapshot) and what is borrowed for it: parents before children, siblings sorted by bytes.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, fstat, openat, readlinkat, statat, utimensat,
};

use super::{BorrowedFile, BorrowedFiles, Error, lossy};

/// Should it be a FIFO, opening it waits for nobody.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// What a walk comes by.
pub(super) enum Visited<'a, 'b> {
    Found(&'a Found<'a>),
    Borrowed { path: &'a [u8], file: &'a BorrowedFile<'b> },
}

/// One file below the root of a walk, or the root itself (an empty `path`).
pub struct Found<'a> {
    /// Relative, no leading or trailing slash.
    pub path: &'a [u8],
    pub stat: Stat,
    parent: BorrowedFd<'a>,
    name: &'a CString,
    /// Open where this is a directory.
    directory: Option<&'a OwnedFd>,
}

impl Found<'_> {
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file for reading: the one that was found. What somebody has put in its place is not even opened, as a device would
    /// be somebody's disk.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let place = openat(self.parent, self.name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        self.check(&place)?;
        Ok(openat(CWD, format!("/proc/self/fd/{}", place.as_raw_fd()), READ, Mode::empty())?)
    }

    /// The same, for a third of the price, in a tree that nobody else can write to.
    pub(super) fn open_own(&self) -> io::Result<OwnedFd> {
        let file = openat(self.parent, self.name, READ | OFlags::NOFOLLOW, Mode::empty())?;
        self.check(&file)?;
        Ok(file)
    }

    fn check(&self, opened: &OwnedFd) -> io::Result<()> {
        let stat = fstat(opened)?;
        let is = |stat: &Stat| (stat.st_dev, stat.st_ino, FileType::from_raw_mode(stat.st_mode));
        match is(&stat) == is(&self.stat) && is(&stat).2 == FileType::RegularFile {
            true => Ok(()),
            false => Err(io::Error::other("something else has taken its place")),
        }
    }

    /// Open where this is a directory.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.map(AsFd::as_fd)
    }

    /// Where a symbolic link leads.
    pub fn link_target(&self) -> io::Result<Vec<u8>> {
        Ok(readlinkat(self.parent, self.name, Vec::new())?.into_bytes())
    }

    /// The directory that it lies in, and its name there (`.` for the root).
    pub fn place(&self) -> (BorrowedFd<'_>, &CStr) {
        (self.parent, self.name)
    }

    /// Sets the modification time to `epoch` (seconds since 1970), as unpacking a layer with that time does. The root of a walk has no
    /// entry in a layer: it gets time 0, as unpacking gives it.
    pub(super) fn normalise_mtime(&self, epoch: i64) -> Result<(), Error> {
        let seconds = if self.path.is_empty() { 0 } else { epoch };
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
        };
        let failed = |source: rustix::io::Errno| Error::SetTime { path: lossy(self.path), source: source.into() };
        utimensat(self.parent, self.name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
    }
}

struct Level {
    fd: OwnedFd,
    names: std::vec::IntoIter<CString>,
    path_length: usize,
}

impl Level {
    fn new(fd: OwnedFd, path: &[u8], borrowed: &BorrowedFiles<'_>) -> io::Result<Self> {
        let mut names = borrowed.names(path).map(|name| CString::new(name.as_slice())).collect::<Result<Vec<_>, _>>()?;
        for entry in Dir::read_from(&fd)? {
            let name = entry?.file_name().to_owned();
            if !matches!(name.as_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        names.dedup();
        Ok(Self { fd, names: names.into_iter(), path_length: path.len() })
    }
}

/// Calls `visit` for `root` and for everything below it. Symbolic links are never followed, not even as `root` itself. Holds a descriptor for every
/// level that it is deep.
pub fn walk<E: From<Error>>(root: &Path, mut visit: impl FnMut(&Found<'_>) -> Result<(), E>) -> Result<(), E> {
    walk_with(root, &BorrowedFiles::default(), |visited| match visited {
        Visited::Found(found) => visit(found),
        Visited::Borrowed { .. } => Ok(()),
    })
}

/// [`walk`], which visits borrowed files in their places.
pub(super) fn walk_with<'b, E: From<Error>>(
    root: &Path,
    borrowed: &BorrowedFiles<'b>,
    mut visit: impl FnMut(Visited<'_, 'b>) -> Result<(), E>,
) -> Result<(), E> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let at_root = |source: rustix::io::Errno| Error::Read { path: root.to_string_lossy().into_owned(), source: source.into() };
    let fd = openat(CWD, root, directory, Mode::empty()).map_err(at_root)?;
    let dot = CString::from(c".");
    let stat = statat(&fd, &dot, AtFlags::SYMLINK_NOFOLLOW).map_err(at_root)?;
    visit(Visited::Found(&Found { path: b"", stat, parent: fd.as_fd(), name: &dot, directory: Some(&fd) }))?;

    let mut path = Vec::new();
    let mut stack =
        vec![Level::new(fd, b"", borrowed).map_err(|source| Error::Read { path: root.to_string_lossy().into_owned(), source })?];
    while let Some(level) = stack.last_mut() {
        let Some(name) = level.names.next() else {
            stack.pop();
            continue;
        };
        path.truncate(level.path_length);
        let lent = borrowed.get(&path, name.as_bytes());
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        if let Some(file) = lent {
            visit(Visited::Borrowed { path: &path, file })?;
            continue;
        }

        let failed = |source: io::Error| Error::Read { path: lossy(&path), source };
        let stat = statat(&level.fd, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(e.into()))?;
        let opened = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Some(openat(&level.fd, &name, directory, Mode::empty()).map_err(|e| failed(e.into()))?),
            _ => None,
        };
        visit(Visited::Found(&Found { path: &path, stat, parent: level.fd.as_fd(), name: &name, directory: opened.as_ref() }))?;
        if let Some(fd) = opened {
            let level = Level::new(fd, &path, borrowed).map_err(failed)?;
            stack.push(level);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn parents_come_first_and_siblings_in_the_order_of_bytes() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/x")).unwrap();
        for file in ["B", "a", "b-c", "b/z", "b/x/y", "é"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let mut seen = Vec::new();
        walk(dir.path(), |found| {
            seen.push(lossy(found.path));
            Ok::<(), Error>(())
        })
        .unwrap();
        assert_eq!(seen, ["", "B", "a", "b", "b/x", "b/x/y", "b/z", "b-c", "é"]);
    }

    #[test]
    fn what_takes_the_place_of_a_file_after_it_was_found_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let null = rustix::fs::makedev(1, 3);
        let kinds = [FileType::Fifo, FileType::CharacterDevice, FileType::RegularFile];
        kinds.iter().for_each(|kind| fs::write(dir.path().join(format!("{kind:?}")), "text").unwrap());
        let mut opened = Vec::new();
        walk(dir.path(), |found| {
            if found.path.is_empty() {
                return Ok::<(), Error>(());
            }
            assert!(found.open().is_ok() && found.open_own().is_ok());
            let kind = *kinds.iter().find(|kind| format!("{kind:?}").as_bytes() == found.path).unwrap();
            let place = dir.path().join(lossy(found.path));
            fs::rename(&place, dir.path().join("..").join(format!("{}-was", dir.path().display()))).unwrap();
            match rustix::fs::mknodat(CWD, &place, kind, Mode::from_raw_mode(0o600), null) {
                Err(rustix::io::Errno::PERM) => println!("skipped: only root makes devices"),
                made => made.unwrap(),
            }
            opened.push((kind, found.open().is_ok(), found.open_own().is_ok()));
            Ok(())
        })
        .unwrap();
        fs::remove_file(format!("{}-was", dir.path().display())).unwrap();
        assert_eq!(opened, [FileType::CharacterDevice, FileType::Fifo, FileType::RegularFile].map(|kind| (kind, false, false)));
    }
}
